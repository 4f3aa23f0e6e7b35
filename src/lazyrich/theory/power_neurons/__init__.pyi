from .flow import power_flow as power_flow
from .start import power_data as power_data
from .start import power_weights as power_weights
