from .flow import barlow_flow as barlow_flow
from .flow import barlow_times as barlow_times
from .start import barlow_start as barlow_start
from .start import kernel_views as kernel_views
from .start import view_correlation as view_correlation
