from .flow import balanced_flow as balanced_flow
from .flow import tangent_kernel as tangent_kernel
from .rule import balanced_regime as balanced_regime
from .start import balanced_state as balanced_state
from .start import relative_scale as relative_scale
