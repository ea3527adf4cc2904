__version__ = "0.1.0"


def __getattr__(name):
    "`Classifier` is imported when somebody asks for it, so that `import mlc_course` stays quick"
    if name=='Classifier':
        from .classifier import Classifier
        return Classifier
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
