from .boundary import Boundary as Boundary
from .boundary import boundaries as boundaries
from .ladder import TOLERANCE as TOLERANCE
from .ladder import within as within
from .windows import Window as Window
