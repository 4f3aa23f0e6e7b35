from .diagram import PhaseDiagram as PhaseDiagram
from .mechanisms import acting as acting
from .mechanisms import activity as activity
from .order import fitted_feature_kind as fitted_feature_kind
from .scaling import Exponents as Exponents
from .scaling import FeatureKind as FeatureKind
from .setting import Setting as Setting
