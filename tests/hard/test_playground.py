"The playground's networks can be trained anew: a seed repeats, and all that the page needs comes out"
import json
import pytest
from fastcore.basics import noop
from mlc_course.engine.decision import Decision
from mlc_course.ui.playground import keep_curve, load_page, page_data, train_page_model


def trained(folder, seed):
    train_page_model(folder, epochs=1, seed=seed, say=noop)
    return folder


def weights(folder): return [(folder/o).read_bytes() for o in ('model/model.safetensors','page.safetensors')]


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return trained(tmp_path_factory.mktemp('page'), 1)


def test_files(folder):
    assert sorted(o.name for o in folder.iterdir())==['model','page.safetensors']
    clf,_,_ = load_page(folder)
    assert clf.config['training']['seed']==1
    assert len(clf.refs)==500


def test_seed_repeats(folder, tmp_path):
    "Also into a folder that holds the model of another seed"
    other = weights(trained(tmp_path, 0))
    assert other!=weights(folder)
    assert weights(trained(tmp_path, 1))==weights(folder)


def test_curve(folder):
    clf,_,stored = load_page(folder)
    curve = keep_curve(clf, stored)
    assert len(curve)==102
    shares = curve.drop(columns='network')
    assert shares.min(axis=None)>=0
    assert shares.max(axis=None)<=1


def test_data(folder):
    clf,_,_ = load_page(folder)
    data = json.loads(page_data(folder).removeprefix('window.playgroundData = '))
    assert Decision.from_dict(data['decision'])==clf.decision
    assert len(data['sigmoid']['layers'])==5
