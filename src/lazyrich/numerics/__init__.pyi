from .boundary import Boundary as Boundary
from .boundary import boundaries as boundaries
from .ladder import TOLERANCE as TOLERANCE
from .ladder import exponent_of as exponent_of
from .ladder import within as within
from .windows import Window as Window
