from .forecast.result import Forecast as Forecast
from .forecast.result import LayerShare as LayerShare
from .steer.coordinate import CoordinateCheck as CoordinateCheck
from .steer.dial import Dialled as Dialled
from .steer.dial import LearningRate as LearningRate
from .verdict import LayerVerdict as LayerVerdict
from .verdict import Verdict as Verdict
from .verdict import judge as judge
