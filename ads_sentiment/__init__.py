__version__ = "0.1.0"
from . import core # before fastai is imported, because it silences one of its warnings
