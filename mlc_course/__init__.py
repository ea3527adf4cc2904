"""Modules:

- `mlc_course.cam`: The network was trained on lists of names, never on a box. We read from its own weights where each name comes from, score that against the true boxes, and catch a model that is right for the wrong reason.
- `mlc_course.convolution`: Slide a few numbers over a drawn cat by hand, lose its position on purpose, and find out how much of a picture one cell of a ResNet really sees.
- `mlc_course.counting`: Because nobody asked it how many. We ask: a second head beside the first, three ways to train it, and a count of what each kind of label costs and buys.
- `mlc_course.engine.photos`: Labelled pictures from a table, from folders or from file names, split so that every label gets its share. What can be read in two ways is refused with one line.
- `mlc_course.loss`: One coin per class: binary cross-entropy built from coin throws, made safe for any logit, and compared with the loss it replaces.
- `mlc_course.metrics`: We train a small network to name everything in a scene, and then distrust each number it gets until the number has earned it.
- `mlc_course.rare`: A data set with 28 labels, the rarest in one picture of five hundred. We split it so that no label gets lost, try five losses with equal budget over three seeds, and report the winner, whoever it is.
- `mlc_course.sigmoid`: Turn patterns into class scores by hand, watch softmax crown a winner in pure noise, and find out what it takes before a sigmoid stays silent.
- `mlc_course.trust`: A threshold of 0.5 is a habit. We give it a proof instead: a bound on the share of labels that go missing, checked over a thousand resplits, and then list what the proof leaves out.
- `mlc_course.unknown`: A sigmoid network is free to give no label at all. One donkey can't tell whether it will; we measure how often it does, find two cures, and put them together into the rule that the package uses."""

__version__ = "0.1.0"


def __getattr__(name):
    "`Classifier` is imported when somebody asks for it, so that `import mlc_course` stays quick"
    if name=='Classifier':
        from .classifier import Classifier
        return Classifier
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
