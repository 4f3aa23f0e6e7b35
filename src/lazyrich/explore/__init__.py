"""The interactive page: the exact solver in a browser, one HTML file made from page/."""
