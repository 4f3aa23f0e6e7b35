from . import abc as abc
from . import aligned_modes as aligned_modes
from . import balanced_linear as balanced_linear
from . import diagonal_linear as diagonal_linear
from . import quadratic_start as quadratic_start
from . import single_neuron as single_neuron
from . import two_layer_linear as two_layer_linear
from . import two_layer_relu as two_layer_relu
