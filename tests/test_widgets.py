"What a reader relies on when moving a slider: an answer at once, the right words, a still picture"
import base64, io, json
from datetime import datetime, timezone
import ipywidgets, numpy as np, pytest, torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from messages import fault
from mlc_course.draw.scenes import draw_portrait
from mlc_course.ui import explorers, explorers_answers
from mlc_course.ui.asker import explore_model, uploaded
from mlc_course.ui.explorer import Explorer, frames_name, heaviest, int_slider, keep_frames

MAKERS = {name: getattr(module, name) for module in (explorers, explorers_answers)
    for name in module.__all__ if name.startswith('explore_')} | dict(explore_model=explore_model)
VIEW = 'application/vnd.jupyter.widget-view+json'


@pytest.fixture(scope='module')
def made():
    "Each explorer with its defaults"
    return {name: make() for name,make in MAKERS.items()}


def steps(control, n=6):
    "`n` values of a control, none equal to the one before; none for what is no slider, chooser or number"
    if hasattr(control, 'max'):
        values = np.resize(np.linspace(control.min, control.max, 7)[:-1], n)
        return list(map(type(control.value), values))
    if hasattr(control, 'options'):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
        return (values*n)[:n]
    if isinstance(control.value, float): return [float(i%7-3) for i in range(n)]
    return []


@pytest.mark.parametrize('name', MAKERS)
def test_every_control_changes_what_is_shown(made, name):
    explorer = made[name]
    for key,control in explorer.controls.items():
        values = steps(control)
        if not values: continue
        seen,start = set(),control.value
        for v in values:
            control.value = v
            seen.add((explorer.text.value, bytes(explorer.picture.value)))
        control.value = start
        assert len(seen)>1, f'{key} changes nothing'


@pytest.mark.parametrize('name', MAKERS)
def test_still_picture(made, name):
    "Beside the view that needs a kernel lies a picture that needs none, whatever the version of ipywidgets"
    data,_ = DisplayFormatter().format(made[name], include=[VIEW, 'image/png', 'text/plain'])
    assert data[VIEW]['model_id']==made[name].model_id
    img = Image.open(io.BytesIO(base64.b64decode(data['image/png'])))
    assert min(img.size)>100
    assert len(img.convert('RGB').getcolors(1<<24))>20
    assert data['text/plain']


def small(draw):
    "An explorer of one slider with six values"
    return Explorer(draw, dict(x=int_slider('x', 1, 0, 5)), (2,1))


def test_frames_for_the_site(tmp_path, monkeypatch):
    "Only when the course is run for the site, an explorer that is shown keeps its frames"
    def draw(fig, x):
        fig.text(.5, .5, x)
        return f'{x} things'
    explorer = small(draw)
    def show(): return DisplayFormatter().format(explorer, include=['image/png'])[0]['image/png']
    before = show()
    monkeypatch.setenv('MLC_FRAMES', str(tmp_path))
    assert show()==before
    kept, = tmp_path.iterdir()
    assert kept.name==frames_name(before)
    about = json.loads((kept/'explorer.json').read_text())
    assert about['controls']==[dict(name='x', is_list=False, places=list('012345'))]
    assert about['said']==[f'{i} things' for i in range(6)]
    assert about['start']==1
    assert sorted(o.name for o in kept.glob('*.webp'))==[f'{i}.webp' for i in range(6)]


def test_heavy_frames_are_fewer(tmp_path):
    "Where the still picture is light and the others are not, a second round draws as many as fit"
    rng = np.random.default_rng(0)
    noise = rng.random((50,200,600,3))
    def draw(fig, x):
        if x: fig.figimage(noise[x])
        return ''
    explorer = Explorer(draw, dict(x=int_slider('x', 0, 0, 49)), (600/90,200/90))
    kept = keep_frames(explorer, tmp_path)
    n = len(list(kept.glob('*.webp')))
    assert 2<n<50
    assert sum(o.stat().st_size for o in kept.glob('*.webp'))<=heaviest


def test_frames_lie_not(tmp_path):
    "A picture that depends on what was drawn before can not be looked up"
    drawn = []
    def draw(fig, x):
        drawn.append(x)
        fig.text(.5, .5, len(drawn))
        return ''
    with pytest.raises(ValueError, match='which control moved first'): keep_frames(small(draw), tmp_path)


@pytest.mark.parametrize('name', MAKERS)
def test_controls_have_names(made, name):
    "A screen reader, and a person, can tell the controls apart; the words are a live region"
    names = [o.description for o in made[name].controls.values()]
    assert all(names)
    assert len(set(names))==len(names)
    assert 'role="status"' in made[name].text.value


def test_set_draws_once(made):
    explorer,drawn = made['explore_sigmoid'],[]
    explorer.picture.observe(drawn.append, 'value')
    explorer.set(z0=1., z1=2., z2=3.)
    assert len(drawn)==1


def test_random_numbers_stay_the_readers():
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    explorers.explore_field()
    assert torch.equal(torch.rand(3), wanted)


def test_own_data():
    "Probabilities of the reader's own"
    probs = torch.tensor([[.9,.2],[.4,.6],[.1,.1]])
    targets = torch.tensor([[1.,0],[1,1],[0,0]])
    explorer = explorers_answers.explore_thresh(probs, targets, ['a','b'])
    explorer.set(t0=.3)
    assert '<b>1</b> of 3 answers differ' in explorer.text.value
    assert 'exactly right <b>100.0%</b>' in explorer.text.value


@pytest.mark.parametrize('make', [explorers_answers.explore_trust,
    lambda probs, targets: explorers_answers.explore_thresh(probs, targets, ['a','b']),
    lambda probs, targets: explorers_answers.explore_thresh(probs, probs>.5, ['a'])])
def test_refuses_what_does_not_fit(make):
    probs = torch.tensor([[.9,.2],[.4,.6],[.1,.1]])
    with pytest.raises(ValueError, match='do not fit'): make(probs, torch.ones(2, 2))


def test_trust_keeps_its_word():
    "Half of 20 equal items calibrate: nothing may be missed at 0.1, one item in two at 0.6"
    probs,targets = torch.tensor([[.2,.9]]).repeat(20,1),torch.ones(20,2)
    explorer = explorers_answers.explore_trust(probs, targets)
    assert 'missed over 20 resplits: <b>0.000 ± 0.000</b>' in explorer.text.value
    assert 'to 100%' in explorer.text.value
    explorer.set(alpha=.4)
    # a score less, and half of all labels would be gone: more than 0.4
    assert '<b>0.000' in explorer.text.value


# --- a picture of one's own, with ipywidgets 7 and 8

def test_uploaded():
    "Names and bytes, as each version hands them over"
    seven = {'cat.jpg': dict(metadata=dict(name='cat.jpg', size=2), content=b'ab')}
    eight = dict(name='cat.jpg', size=2, type='image/jpeg', content=memoryview(b'ab')),
    for value in seven,eight: assert uploaded(dict(new=value))==[('cat.jpg',b'ab')]
    for nothing in {},(): assert uploaded(dict(new=nothing))==[]
    terabyte = dict(name='x', content=10**12), # which `bytes` would take for a length
    with pytest.raises(TypeError): uploaded(dict(new=terabyte))


def hand_in(photo, name, content):
    "What the browser does"
    if ipywidgets.__version__<'8':
        photo.metadata,photo.data = [dict(name=name, size=len(content))],[content]
        photo._counter += 1
    else:
        now = datetime.now(timezone.utc)
        photo.value = dict(name=name, type='', size=len(content), content=content, last_modified=now),


def jpeg(seed):
    file = io.BytesIO()
    draw_portrait('Siamese', seed, 100)[0].save(file, format='jpeg')
    return file.getvalue()


@pytest.fixture
def asker(): return explore_model(pictures={'a cat': draw_portrait('Siamese', 1, 100)[0]})


def test_upload(asker):
    "A picture is chosen and stays to choose; what is none gets a line, and the last answer stays"
    hand_in(asker.photo, 'mine.jpg', jpeg(2))
    assert asker.choice.value=='mine.jpg'
    assert 'mine.jpg' in asker.text.value
    assert not asker.photo.value
    hand_in(asker.photo, 'text.jpg', b'a letter')
    assert 'text.jpg'+fault('no_picture') in asker.note.value
    assert asker.choice.value=='mine.jpg'
    hand_in(asker.photo, 'mine.jpg', jpeg(2)) # the same once more
    assert asker.note.value==''
    assert asker.choice.options==('a cat','mine.jpg')


def test_uploads_are_not_kept_for_ever(asker):
    for i in range(12): asker.take(f'{i}.jpg', jpeg(i))
    assert asker.choice.options==('a cat', *(f'{i}.jpg' for i in range(2, 12)))
    assert set(asker.seen)<=set(asker.choice.options)


def test_upload_named_like_an_example(asker):
    before = asker.text.value
    asker.take('a cat', jpeg(2))
    assert asker.choice.options==('a cat','your a cat')
    asker.choice.value = 'a cat'
    assert asker.text.value==before


