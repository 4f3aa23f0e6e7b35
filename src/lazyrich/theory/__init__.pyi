from . import balanced_linear as balanced_linear
from . import diagonal_linear as diagonal_linear
from . import quadratic_start as quadratic_start
from . import two_layer_linear as two_layer_linear
