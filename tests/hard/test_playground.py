"The playground's networks can be trained anew: a seed repeats, and all that the page needs comes out"
import json
import pytest, torch
from conftest import ROOT
from fastcore.basics import noop

from mlc_course.data import encode_labels
from mlc_course.engine.decision import Decision
from mlc_course.engine.labelling import raw_outputs
from mlc_course.engine.networks import build_model
from mlc_course.ui.playground import filter_steps, load_page, page_data, page_vocab
from train_playground import keep_curve, look, page_pictures, page_tests, round_filters, train_page_model


def trained(folder, seed):
    train_page_model(folder, epochs=1, seed=seed, say=noop)
    return folder


def weights(folder): return [(folder/o).read_bytes() for o in ('model/model.safetensors','page.safetensors')]


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return trained(tmp_path_factory.mktemp('page'), 1)


def test_pictures():
    "No picture twice; those of the page's networks are as many as its notebook says"
    table = page_pictures()
    assert table.file.is_unique
    n_labels = table[table.part=='train'].labels.map(len)
    assert [len(n_labels), (n_labels==0).sum(), (n_labels==1).sum()]==[4320,1149,2005]
    assert (table.part=='valid').sum()==1140


def test_rounded():
    model = build_model('page_cnn', len(page_vocab))
    before = model[0][1][0].weight.detach().clone()
    after = round_filters(model)[0][1][0].weight.detach()
    step = filter_steps(before)
    assert ((before-after).abs()<=step/2*1.001).all() # half a step at most
    assert torch.allclose(after/step, (after/step).round(), atol=1e-4)


def test_stored_figures(tmp_path):
    "What the page says of test pictures is what both networks say here, on this machine"
    clf,twin,stored = load_page(ROOT/'nbs'/'playground')
    tests = page_tests(page_pictures(), tmp_path)
    files = tests.file.tolist()
    logits,score,_ = raw_outputs(clf, files)
    assert torch.allclose(logits, stored.logits, atol=1e-3)
    assert torch.allclose(score, stored.score, atol=1e-3)
    assert torch.allclose(look(twin, files)[0], stored.twin, atol=1e-3)
    assert encode_labels(tests.labels, page_vocab).equal(stored.targets)


def test_files(folder):
    assert sorted(o.name for o in folder.iterdir())==['model','page.safetensors']
    clf,_,_ = load_page(folder)
    assert clf.config['training']['seed']==1
    assert len(clf.refs)==1000


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
