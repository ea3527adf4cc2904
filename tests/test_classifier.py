"What a classifier is asked: order, errors, rows of a table, half precision"
import shutil
import pytest, torch
from fastcore.basics import noop
from conftest import draw
from mlc_course.classifier import Classifier
from mlc_course.engine.decision import Decision
from mlc_course.engine.labelling import quick_body
from mlc_course.engine.model_file import content_keys


def test_predict_order_and_errors(blank, pets, tmp_path):
    (tmp_path/'bad.jpg').write_bytes(b'')
    (tmp_path/'empty').mkdir()
    pug = pets/'pug_3.jpg'
    paths = [pug, tmp_path/'bad.jpg', tmp_path/'none.jpg', pets/'pug_1.jpg', tmp_path/'empty', pug]
    res = blank.predict(paths)
    assert [o['path'] for o in res]==list(map(str, paths))
    assert ['error' in o for o in res]==[False,True,True,False,True,False]
    assert all(o['known']==bool(o['labels']) for o in res if 'known' in o)


def test_predict_one_of_many(blank, pets):
    "The same answer whatever is asked beside it"
    pug = pets/'pug_3.jpg'
    first,_,again = blank.predict([pug, pets/'pug_1.jpg', pug])
    assert first==again
    alone, = blank.predict(pug)
    assert alone['labels']==first['labels']
    assert alone['score']==pytest.approx(first['score'], abs=1e-4)


@pytest.mark.parametrize('valid_a,n', [('False', 1), ('True', 2)])
def test_evaluate_rows(blank, tmp_path, valid_a, n):
    "Of rows of both kinds those that validate"
    draw(tmp_path, ['pug'], 2)
    rows = f'fname,labels,is_valid\npug_0.jpg,cat,{valid_a}\npug_1.jpg,dog,True\n'
    (tmp_path/'t.csv').write_text(rows)
    assert blank.evaluate(tmp_path/'t.csv')['n_known']==n


def test_with_threshs(blank, pets):
    "Nothing else changes, it is shown, and another keep rate leaves it"
    asked = blank.with_threshs(dict(cat=1)).with_keep(.5)
    assert (asked.decision.threshs[0], asked.model is blank.model, blank.decision.asked)==(1, True, ())
    assert 'cat needs 1' in repr(asked)
    assert not any('cat' in o['labels'] for o in asked.with_keep(1).predict(pets))
    assert any('cat' in o['labels'] for o in blank.with_keep(1).predict(pets))


def test_evaluate_tells_of_pictures_that_trained(trained, pets, strangers, tmp_path, capsys):
    "By their content, under whatever name; of some of them only the share; of none nothing"
    held = {o.name for o in pets.iterdir() if not n_trained(trained, [o])}
    assert 0<len(held)<12
    trained.evaluate(pets, strangers)
    n = n_trained(trained, [*pets.iterdir(), *strangers.iterdir()])
    said = f'{n} of 36 of these pictures trained the model, {n/36:.0%}: the figures flatter\n'
    assert capsys.readouterr().err==said
    for o in pets.iterdir():
        if o.name in held: continue
        (tmp_path/'copy'/o.name.split('_')[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(o, tmp_path/'copy'/o.name.split('_')[0]/f'new{o.name}')
    trained.evaluate(tmp_path/'copy')
    said = capsys.readouterr().err
    assert said.count('\n')==1
    n = 24-len(held)
    assert said==f'{n} of {n} of these pictures trained the model: the figures say nothing about new ones\n'
    trained.evaluate(draw(tmp_path/'others', ['pug','Siamese'], 2, 50))
    assert capsys.readouterr().err==''


def n_trained(clf, files): return int(torch.isin(content_keys(files), clf.trained).sum())


def test_with_keep(blank):
    assert blank.with_keep(.95) is blank
    other = blank.with_keep(.5)
    assert other.model is blank.model
    assert other.decision==blank.decision.at(.5)


@pytest.fixture(scope='module')
def quick(pets):
    "A network that half precision is quicker for, on processors that have it"
    clf = Classifier.train(pets, size=64, device='cpu', say=noop)
    if quick_body(clf) is None: pytest.skip('this processor has no bfloat16')
    return clf


def test_half_precision_gives_the_same_labels(quick, pets):
    "A folder is looked at in half precision first, and close calls in full"
    exact = quick.predict(pets, exact=True)
    assert [o['labels'] for o in quick.predict(pets)]==[o['labels'] for o in exact]


def test_half_precision_is_near(quick, pets, monkeypatch):
    exact = quick.predict(pets, exact=True)
    monkeypatch.setattr(Decision, 'is_close_call', lambda self, z, s: torch.zeros(len(z)).bool())
    half = quick.predict(pets)
    assert half!=exact
    assert max(abs(a['probs'][k]-b['probs'][k]) for a,b in zip(half, exact) for k in a['probs'])<.05
