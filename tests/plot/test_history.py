import numpy as np
import pytest
import xarray as xr

from lazyrich import plot

STEPS = [0, 10, 20]


@pytest.fixture
def history():
    def layered(values):
        return ("step", "layer"), np.array(values, float)

    return xr.Dataset(
        {
            "loss": ("step", [1.0, 0.5, 0.1]),
            "ntk_change": ("step", [0.0, 0.3, 0.6]),
            "ntk_change_low": ("step", [0.0, 0.2, 0.5]),
            "ntk_change_high": ("step", [0.0, 0.4, 0.7]),
            "layer_log_alignment": layered([[0, 0], [0.2, 1], [0.4, 2]]),
            "layer_log_rescaling": layered([[0, 0], [-0.1, 3], [-0.3, 4]]),
            "nfa": layered([[0.5, np.nan], [0.6, np.nan], [0.8, np.nan]]),
            "nfa_stderr": layered([[0.1, np.nan], [0.1, np.nan], [0.1, np.nan]]),
            "nfa_null": layered([[0.4, np.nan], [0.4, np.nan], [0.4, np.nan]]),
        },
        coords={"step": STEPS, "layer": ["a", "b"]},
    )


def curves(ax):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in ax.get_lines()}


def test_mechanism_shares_of_one_layer_with_their_windows(history):
    ax = plot.mechanism_shares(history, "a", windows=(("rescaling", 3.0, 17.0),))
    drawn = curves(ax)
    assert drawn["alignment  Δ ln A"].tolist() == [0, 0.2, 0.4]
    assert drawn["rescaling  Δ ln‖W‖"].tolist() == [0, -0.1, -0.3]
    assert "activation gain" not in drawn
    assert [3.0, 17.0] in [list(line.get_xdata()) for line in ax.get_lines()]
    assert ax.get_title(loc="left") == "a" or ax.get_title() == "a"


def test_the_ansatz_with_its_null_and_error(history):
    ax = plot.feature_ansatz(history, "a")
    drawn = curves(ax)
    assert drawn["NFA"].tolist() == [0.5, 0.6, 0.8]
    assert drawn["NFA by chance"].tolist() == [0.4] * 3
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.4)
    assert band[:, 1].max() == pytest.approx(0.9)


def test_the_kernels_motion_is_logarithmic_without_its_zero(history):
    ax = plot.kernel_motion(history)
    (line,) = curves(ax).values()
    assert np.isnan(line[0])
    assert line[1:].tolist() == [0.3, 0.6]
    assert ax.get_yscale() == "log"


def test_forecast_beside_outcome(history):
    drawn = curves(plot.forecast_and_outcome(history, 0.25, 0.05))
    assert set(drawn["forecast, by rehearsal"].tolist()) == {0.25}
    assert drawn["measured"][1:].tolist() == [0.3, 0.6]
    assert list(curves(plot.forecast_and_outcome(history, float("inf")))) == ["measured"]


def test_nothing_to_draw_on_a_logarithmic_axis(history):
    history["loss"] = history.loss * np.nan
    assert plot.loss_curve(history).get_yscale() == "linear"
