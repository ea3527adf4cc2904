"What an import, a command or a prediction loads, and what it leaves as it was"
import os
import pytest
from conftest import draw, python

SCIENCE = {'torch','numpy','fastai','pandas','matplotlib'}
LIGHT = {
    'mlc_course': SCIENCE | {'fastcore'},
    'mlc_course.ui.course': SCIENCE,
    'mlc_course.ui.cli': SCIENCE | {'PIL'},
    'mlc_course.ui.app': SCIENCE | {'fasthtml','starlette','uvicorn'},
    'mlc_course.trust': {'fastai','pandas','matplotlib'},
    'mlc_course.ui.app_routes': {'fastai','pandas','matplotlib','ipywidgets','IPython','mlc_course.data',
        'mlc_course.draw'},
    'mlc_course.ui.asker': {'fastai','pandas','matplotlib.pyplot','mlc_course.data',
        'mlc_course.ui.explorers','mlc_course.draw'}}


@pytest.mark.parametrize('module', LIGHT)
def test_import_is_light(module):
    "Nothing that takes long is loaded before it is needed"
    loaded = python(f'import sys, {module}; print(*sys.modules)', check=True).stdout.split()
    assert not {heavy for heavy in LIGHT[module] for o in loaded if f'{o}.'.startswith(f'{heavy}.')}


def test_import_is_quick():
    "The package itself takes less than 0.1 s beyond Python's own start"
    code = 'import time; start = time.perf_counter(); import mlc_course; print(time.perf_counter()-start)'
    assert min(float(python(code, check=True).stdout) for _ in range(3))<.1


def test_classifier_is_fetched_when_asked_for():
    code = "import mlc_course; print(mlc_course.Classifier.__name__, hasattr(mlc_course, 'nothing'))"
    assert python(code, check=True).stdout=='Classifier False\n'


def test_import_changes_nothing():
    "Filters and settings of the process are a command's business, not that of an import"
    code = '''import os, sys, warnings
before = dict(os.environ), list(warnings.filters)
import mlc_course, mlc_course.ui.cli
print((dict(os.environ), warnings.filters)==before)'''
    env = {k: v for k,v in os.environ.items() if k!='OMP_WAIT_POLICY'}
    assert python(code, env=env, check=True).stdout=='True\n'


def test_predict_without_fastai(blank, pets, tmp_path):
    "Loading, predicting and evaluating import no fastai, and need no network"
    code = '''import sys
from mlc_course import Classifier
model, pets, cats = sys.argv[1:]
clf = Classifier.load(model)
print(len(clf.predict(pets)), clf.evaluate(cats, pets)['n_unknown'])
print(*sys.modules)'''
    draw(tmp_path/'cats/cat', ['car'], 3)
    n,loaded = python(code, blank.save(tmp_path/'m'), pets, tmp_path/'cats', check=True).stdout.splitlines()
    assert n=='24 24'
    assert not {'fastai','pandas','matplotlib'} & set(loaded.split())
