"What a reader relies on when moving a slider: an answer at once, nothing left open, the right words, and a still picture"
import base64, io
import numpy as np
import pytest, torch
from PIL import Image
from mlc_course.ui import explorers as widgets

NAMES = sorted(o for o in widgets.__all__ if o.startswith('explore_'))


@pytest.fixture(scope='module')
def made():
    "Each explorer with its defaults"
    return {o: getattr(widgets, o)() for o in NAMES}


def steps(control, n):
    "`n` values of a control, none equal to the one before"
    if hasattr(control, 'max'): return [type(control.value)(o) for o in np.resize(np.linspace(control.min, control.max, 7)[:-1], n)]
    if hasattr(control, 'options'): return [o[1] if isinstance(o, tuple) else o for o in (list(control.options)*n)[:n]]
    if isinstance(control.value, float): return [float(i%7-3) for i in range(n)]


@pytest.mark.parametrize('name', NAMES)
def test_every_control_changes_what_is_shown(made, name):
    o = made[name]
    for key,control in o.controls.items():
        if (values := steps(control, 6)) is None: continue
        seen,start = set(),control.value
        for v in values:
            control.value = v
            seen.add((o.text.value, bytes(o.picture.value)))
        control.value = start
        assert len(seen)>1, f'{key} changes nothing'


@pytest.mark.parametrize('name', NAMES)
def test_still_picture(made, name):
    "Beside the view that needs a kernel lies a picture that needs none"
    data = made[name]._repr_mimebundle_()
    assert 'application/vnd.jupyter.widget-view+json' in data
    img = Image.open(io.BytesIO(base64.b64decode(data['image/png'])))
    assert min(img.size)>100 and len(img.convert('RGB').getcolors(1<<24))>20


@pytest.mark.parametrize('name', NAMES)
def test_controls_have_names(made, name):
    "A screen reader, and a person, can tell the controls apart; the words are a live region"
    names = [o.description for o in made[name].controls.values()]
    assert all(names) and len(set(names))==len(names)
    assert 'role="status"' in made[name].text.value


def test_set_draws_once(made):
    o,n = made['explore_sigmoid'],[]
    o.picture.observe(lambda _: n.append(1), 'value')
    o.set(z0=1., z1=2., z2=3.)
    assert len(n)==1


def test_own_data():
    "Probabilities, pictures and maps of the reader's own"
    probs,targets = torch.tensor([[.9,.2],[.4,.6],[.1,.1]]),torch.tensor([[1.,0],[1,1],[0,0]])
    o = widgets.explore_thresh(probs, targets, ['a','b'])
    o.set(t0=.3)
    assert '<b>1</b> of 3 answers differ' in o.text.value and 'exactly right <b>100.0%</b>' in o.text.value
    with pytest.raises(ValueError, match='do not fit'): widgets.explore_trust(probs, targets[:2])


def test_trust_keeps_its_word():
    "Half of 20 equal items calibrate: nothing may be missed at 0.1, one item in two at 0.6"
    probs,targets = torch.tensor([[.2,.9]]).repeat(20,1),torch.ones(20,2)
    o = widgets.explore_trust(probs, targets)
    assert 'missed over 20 resplits: <b>0.000 ± 0.000</b>' in o.text.value and 'to 100%' in o.text.value
    o.set(alpha=.4)
    assert '<b>0.000' in o.text.value   # a score less, and half of all labels would be gone: more than 0.4
