"""What a study is: axes, points, and the experiment that they set."""
