"The page that says how far to trust a model, and the figures by label on it"
import csv, json, re, time
from html.parser import HTMLParser
from dataclasses import replace
import numpy as np
import pytest, torch
from conftest import call, draw, names, untrained
from mlc_course.engine import evaluation, labelling
from mlc_course.engine.core import InputError
from mlc_course.engine.decision import keep_table
from mlc_course.engine.evaluation import FIGURES, measure
from mlc_course.ui import report, report_mistakes
from mlc_course.ui.cli import mlc_evaluate
from mlc_course.ui.page import Html, figure, gallery, page, picture_uri, small_picture, table
from PIL import Image

VOID = 'meta', 'img', 'br'
OURS = set('''html head meta title style body main h1 h2 h3 p nav a section div table thead tbody tr th td
span i b figure figcaption img svg g defs clippath path use rect text pattern polygon'''.split())
SHARES = 'precision', 'recall', 'f1', 'ap'


class Page(HTMLParser):
    "What a page holds: its tags, its texts, its tables as lists of rows, the targets of its links"
    def __init__(self, html):
        super().__init__()
        self.tags,self.open,self.tables,self.texts,self.links,self.pictures = set(), [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = ' '.join(' '.join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        assert not [o for o in attrs if o.startswith('on')], 'a label has become an attribute'
        self.links += [attrs[o] for o in ('href','src','xlink:href') if o in attrs]
        if tag=='img': self.pictures.append(attrs)
        if tag=='table': self.tables.append([])
        if tag=='tr': self.tables[-1].append([])
        if tag in ('th','td'): self.tables[-1][-1].append('')
        if tag not in VOID: self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID: self.handle_endtag(tag)

    def handle_endtag(self, tag): assert self.open.pop()==tag

    def handle_data(self, data):
        if 'style' in self.open: return
        self.texts.append(data)
        if self.open and {'td','th'} & set(self.open): self.tables[-1][-1][-1] += data

    def rows(self, head):
        "The table whose first column is named so, as a dict from a row's name to its cells"
        found, = (o for o in self.tables if o[0][0]==head)
        return {row[0]: dict(zip(found[0], row)) for row in found[1:]}


def made_up(vocab, n=60, n_unknown=20, seed=0, empty=False):
    "Answers as a middling model would give them, and something like a classifier"
    gen = torch.Generator().manual_seed(seed)
    k = len(vocab)
    targets = (torch.rand(n, k, generator=gen)<max(.3, 1.5/k)).float()
    if empty: targets[:] = 0
    logits = 4*targets-2 + 1.5*torch.randn(n, k, generator=gen)
    unknown = 1.5*torch.randn(n_unknown, k, generator=gen)-2.5
    clf = untrained(vocab=vocab)
    score,unknown_score = logits.amax(1),unknown.amax(1)
    kept = keep_table(score)
    clf.decision = decision = replace(clf.decision, keep=.95, thresh=kept[94], keep_table=kept)
    given,unknown_given = decision.given(logits, score),decision.given(unknown, unknown_score)
    files = [f'{i}.jpg' for i in range(n)]
    answers = labelling.Answers(logits, score, given, targets, unknown_score, unknown_given, unknown,
        files, [f'unknown_{i}.jpg' for i in range(n_unknown)])
    return clf,answers


# --- figures

def test_page_says_what_the_command_says(trained_folder, pets, strangers, tmp_path):
    "Each figure and each label's row, to the last digit that is shown"
    file = tmp_path/'r.html'
    args = trained_folder, pets, '--unknown', strangers, '--by-label', '--report', file
    got = json.loads(call('mlc_evaluate', *args, '--json').stdout)
    shown = Page(file.read_text(encoding='utf-8'))
    figures,labels = shown.rows('figure'),shown.rows('label')
    assert list(figures)==[o for o in FIGURES if not o.startswith('n_')]
    for name,row in figures.items(): assert row['value']==f'{got[name]:.3f}'
    assert set(labels)==set(got['by_label'])=={'Siamese','pug'}
    for label,row in labels.items():
        exact = got['by_label'][label]
        assert [int(row[o]) for o in ('pictures','given','right')]==[exact[o] for o in ('n','given','right')]
        assert row['F1'].startswith(f'{exact["f1"]:.2f} (')
        assert row['AP'].startswith(f'{exact["ap"]:.2f} (')
    assert '24 labelled pictures' in shown.text
    assert '12 unknown pictures' in shown.text


def test_command_in_a_terminal(trained_folder, pets, tmp_path):
    "The table as before, then the labels, the worst first, then where the page is"
    res = call('mlc_evaluate', trained_folder, pets, '--by-label', '--report', 'r.html', cwd=tmp_path)
    assert (res.returncode, names(tmp_path))==(0, ['r.html'])
    lines = res.stdout.splitlines()
    assert lines[0]=='24 labelled photos'
    assert lines[-1]=='report written to r.html'
    head = next(i for i,o in enumerate(lines) if o.split()[:2]==['label','photos'])
    assert {o.split()[0] for o in lines[head+1:head+3]}=={'Siamese','pug'}


def test_evaluate_by_label(trained, pets):
    plain,more = trained.evaluate(pets),trained.evaluate(pets, by_label=True)
    assert list(plain)==list(FIGURES)
    assert more.pop('by_label').keys()=={'Siamese','pug'}
    assert more==plain


def test_report_returns_the_figures(trained, pets, strangers, tmp_path):
    got = trained.report(tmp_path/'r.html', pets, strangers)
    assert got==trained.evaluate(pets, strangers, by_label=True)


def test_against_sklearn():
    "Counts, precision, recall, F1 and average precision of a hundred labels, some of which never occur"
    metrics = pytest.importorskip('sklearn.metrics')
    gen = torch.Generator().manual_seed(0)
    targets = (torch.rand(400, 100, generator=gen)<torch.linspace(0, .2, 100)).float()
    logits = 3*targets + torch.randn(400, 100, generator=gen)
    given = logits>1.5
    vocab = [f'c{i}' for i in range(100)]
    got = evaluation.label_figures(logits, given, targets, vocab)
    p,r,f,n = metrics.precision_recall_fscore_support(targets, given.int(), zero_division=np.nan)
    for i,row in enumerate(got.values()):
        for name,want in zip(SHARES, (p[i], r[i], f[i])):
            if row[name] is None: assert np.isnan(want) or not n[i]
            else: assert row[name]==pytest.approx(want, abs=1e-6)
        assert row['n']==n[i]
        if n[i]:
            ap = metrics.average_precision_score(targets[:,i], logits[:,i])
            assert row['ap']==pytest.approx(ap, abs=1e-5)
        for name in SHARES:
            if row[name] is not None: assert 0<=row[f'{name}_low']<=row[name]<=row[f'{name}_high']<=1
    assert got['c0']['n']==0 and got['c0']['ap'] is None


@pytest.mark.parametrize('n_yes,n', [(0,3), (3,3), (50,100), (999,1000)])
def test_wilson_against_scipy(n_yes, n):
    stats = pytest.importorskip('scipy.stats')
    want = stats.binomtest(n_yes, n).proportion_ci(method='wilson')
    low,high = evaluation.wilson(n_yes/n, n, stats.norm.ppf(.975))
    assert (float(low), float(high))==pytest.approx((want.low, want.high), abs=1e-12)


def test_intervals_cover_the_truth():
    "In at least nine of ten tests of 80 pictures, the figure of a million lies inside, for F1 and AP too"
    def drawn(n, gen):
        targets = (torch.rand(n, 1, generator=gen)<.3).float()
        logits = 2*targets-1.3 + torch.randn(n, 1, generator=gen)
        return evaluation.label_figures(logits, logits>0, targets, ['c'])['c']
    truth = drawn(1_000_000, torch.Generator().manual_seed(0))
    tests = [drawn(80, torch.Generator().manual_seed(i)) for i in range(1, 201)]
    for name in SHARES:
        covered = [o[f'{name}_low']<=truth[name]<=o[f'{name}_high'] for o in tests]
        assert np.mean(covered)>=.9, name


def test_baselines_are_reached_by_blind_models():
    "Each baseline is what `measure` says of a model that does just what the words beside it say"
    _,a = made_up(['cat','dog','emu'], 200)
    truth = a.targets.bool()
    blind = evaluation.blind_figures(a.figures(), a.given, a.targets, ['cat','dog','emu'], .95)
    flat = torch.zeros_like(a.logits)
    def of(given, score=torch.zeros(200)):
        return measure(flat, score, given, a.targets, torch.zeros(20), torch.ones(20, 3).bool())
    sets,counts = truth.unique(dim=0, return_counts=True)
    common = of(sets[counts.argmax()].expand(200, 3))
    assert blind['exact_match'][0]==common['exact_match']
    everything = of(torch.ones_like(truth))
    assert blind['macro_f1'][0]==pytest.approx(everything['macro_f1'], abs=1e-5)
    assert blind['map'][0]==pytest.approx(everything['map'], abs=1e-5)
    assert (blind['silent'][0], blind['auroc'][0])==(everything['silent'], everything['auroc'])
    assert blind['aurc'][0]==pytest.approx(of(a.given)['aurc'], abs=1e-5)


# --- which instead of which

def test_confusion_counts_plainly():
    "Each label of each picture lands where the text says; counted by a loop"
    _,a = made_up(['a','b','c','d'], 300)
    given,truth = a.given.tolist(),a.targets.bool().tolist()
    want = np.zeros((5,5), int)
    for g,t in zip(given, truth):
        missed = [i for i in range(4) if t[i] and not g[i]]
        wrong = [i for i in range(4) if g[i] and not t[i]]
        for i in range(4): want[i,i] += g[i] and t[i]
        for i in missed or [4]:
            for j in wrong or [4]:
                if missed or wrong or not any(t): want[i,j] += 1
    assert evaluation.confusion(a.given, a.targets).tolist()==want.tolist()
    pairs = evaluation.confusions(torch.tensor(want), list('abcd'), 3)
    assert [n for *_,n in pairs]==sorted(want[~np.eye(5, dtype=bool)])[::-1][:3]


def test_swapped_labels_are_found():
    "A model that calls every second emu a cat: the first row says so"
    _,a = made_up(['cat','dog','emu'], 200)
    given = a.targets.bool().clone()
    emus = (given[:,2] & ~given[:,0]).nonzero()[::2,0]
    given[emus,2],given[emus,0] = False,True
    pairs = evaluation.confusions(evaluation.confusion(given, a.targets), ['cat','dog','emu'])
    assert pairs==[('emu','cat',len(emus))]


# --- mistakes

def test_worst_mistakes_come_first():
    _,a = made_up(['cat','dog','emu'], 200, 50)
    worst,truth = report_mistakes.worst_mistakes(a, 5),a.targets.bool()
    wrong = a.logits[a.given & ~truth]
    i,k = worst['wrong'][0]
    assert a.logits[i,k]==wrong.max()
    i,k = worst['missed'][0]
    others = torch.ones(200).bool()
    others[[o.item for o in worst['wrong']]] = False # shown already
    assert a.logits[i,k]==a.logits[truth & ~a.given & (a.given.any(1) & others)[:,None]].min()
    assert a.unknown_score[worst['let_in'][0].item]==a.unknown_score.max()
    silent = (truth.any(1) & ~a.given.any(1)).nonzero()[:,0].tolist()
    assert [o.item for o in worst['silent']]==sorted(silent, key=lambda i: a.score[i])[:5]
    assert len({o.item for o in worst['wrong']})==5, 'a picture is shown once'


def test_map_adds_up_to_the_logit(tmp_path):
    "On top of a pretrained network, the sum over the map is half the logit without its bias"
    from mlc_course.engine.pictures import normalise, picture_tensor
    draw(tmp_path, ['pug'], 1, 96)
    clf = untrained('squeezenet1_1', ('cat','dog'))
    votes = report_mistakes.map_of(clf, tmp_path/'pug_0.jpg', 1)
    x = normalise(picture_tensor(tmp_path/'pug_0.jpg', 64)[None], (clf.config['mean'], clf.config['std']))
    with torch.no_grad(): logit = clf.model(x)[0,1]-clf.model[1][-1].bias[1]
    assert 2*votes.sum().item()==pytest.approx(logit.item(), rel=.02, abs=1e-3)


def test_map_shows_the_bright_spot():
    "The strongest cell is painted, the rest stays grey; what speaks against paints nothing"
    img = Image.new('RGB', (160,80), (0,128,0))
    votes = torch.full((4,8), -1.)
    votes[1,6] = 2
    shown = report_mistakes.with_map(img, votes)
    assert shown.size==(324,80)
    pixels = np.asarray(shown).astype(int)
    colourful = np.ptp(pixels[:,164:], axis=2)
    y,x = np.unravel_index(colourful.argmax(), colourful.shape)
    assert (20<=y<40, 120<=x<140)==(True,True)
    assert colourful[60:].max()==0


# --- prices

def test_prices_are_measured():
    "Those of the present keep are the figures; more keep, more answers and less silence"
    clf,a = made_up(['cat','dog'], 300, 100)
    known,unknown = (a.logits, a.score, a.targets),(a.unknown_logits, a.unknown_score)
    rows = evaluation.keep_prices(clf.decision, known, unknown)
    assert [o['keep'] for o in rows]==[.8,.9,.95,.99]
    now,figures = rows[2],a.figures()
    for name in 'answered','answered_right','silent': assert now[name]==figures[name]
    assert now['right_if_answered']==pytest.approx(figures['answered_right']/figures['answered'], abs=1e-5)
    for name,sign in (('answered',1), ('silent',-1)):
        values = [sign*o[name] for o in rows]
        assert values==sorted(values) and values[0]<values[-1]


# --- odd tests

HOSTILE = ('<script>alert(1)</script>', '"onmouseover="alert(1)', "'><img/src=x/onerror=alert(1)>",
    '&lt;b&gt;', '</td></table><h1>', '猫'*60, 'w'*200, '$x^2$', '{n}', '%s')


@pytest.mark.parametrize('vocab,kwargs', [
    (['cat','dog'], {}),
    (['cat','dog'], dict(n_unknown=0)),
    (['cat','dog'], dict(n=3, n_unknown=1)),
    (['cat','dog'], dict(n=1, n_unknown=0)),
    (['cat','dog','emu'], dict(empty=True)),
    (['cat'], {}),
    ([f'label_{i}' for i in range(100)], dict(n=300)),
    (HOSTILE, {})], ids='two no_unknown three one empty single hundred hostile'.split())
def test_page_stays_right(vocab, kwargs, monkeypatch):
    "Well-formed, with our tags only; no nan, no figure that is none; every label is written out"
    clf,a = made_up(vocab, **kwargs)
    shown = Page(html := report.report_page(clf, a, '<b>photos', kwargs.get('n_unknown', 1) and 'un&known'))
    assert shown.tags<=OURS
    assert not re.search(r'\b(nan|inf|None|tensor)\b', shown.text)
    assert all(o.startswith(('#','data:image/jpeg;base64,')) for o in shown.links)
    assert set(shown.rows('label'))==set(vocab)
    assert '<b>photos' in shown.text
    assert len(shown.text)>2000
    if not kwargs.get('n_unknown', 1): assert 'Unknown, but named' not in shown.text
    assert html.count('<svg')>=1


def test_hostile_labels_and_names_for_real(tmp_path):
    "From a table, through the command's own way, into the page"
    folder = tmp_path/'photos'
    folder.mkdir()
    files = ['<script>alert(1)<.jpg', '"onload="x.jpg', 'a&amp;b.jpg']
    for i,name in enumerate(files): Image.new('RGB', (64,48), (80*i,90,120)).save(folder/name)
    vocab = HOSTILE[:3]
    with open(folder/'t.csv', 'w', newline='') as f:
        csv.writer(f).writerows([['fname','labels'], *zip(files, vocab)])
    clf = untrained(vocab=vocab, thresh=float('-inf'))
    clf.report(tmp_path/'r.html', folder/'t.csv')
    shown = Page((tmp_path/'r.html').read_text(encoding='utf-8'))
    assert shown.tags<=OURS
    assert shown.pictures
    for o in vocab: assert o in shown.text


def test_pictures_that_trained_are_told(trained, strangers, tmp_path):
    "None, some, all of them: on the page as on stderr"
    def said(*photos):
        trained.report(tmp_path/'r.html', *photos)
        return Page((tmp_path/'r.html').read_text(encoding='utf-8')).text
    new = draw(tmp_path/'new', ['Siamese','pug'], 3, 50)
    assert 'trained the model' not in said(new)
    mixed = said(new, strangers)
    assert 'of these 18 pictures trained the model' in mixed and 'flatter' in mixed
    clf,a = made_up(['cat','dog'], 60, 20)
    html = report.report_page(clf, a._replace(n_trained=80), 'photos')
    assert '80 of these 80 pictures trained the model. The figures say nothing' in Page(html).text


def test_rehearsal_is_told():
    clf,a = made_up(['cat','dog','emu'])
    column = [round(1-i/200, 4) for i in range(1, 101)]
    clf.config['rehearsal'] = evaluation.Told(3, column, column, column)._asdict()
    text = Page(report.report_page(clf, a, 'photos')).text
    assert evaluation.Told(3, column, column, column).says(.95) in text


def test_size_and_time(tmp_path):
    "A thousand photos that compress badly, a mistake of each kind in plenty: seconds, and below 3 MB"
    clf,a = made_up(['cat','dog','emu'], 1000, 300)
    noise = np.random.default_rng(0).integers(0, 256, (40,240,320,3), dtype=np.uint8)
    for i,o in enumerate(noise): Image.fromarray(o).save(tmp_path/f'{i}.jpg', quality=95)
    def some(n): return [tmp_path/f'{i%40}.jpg' for i in range(n)]
    a = a._replace(files=some(1000), unknown_files=some(300))
    start = time.time()
    html = report.report_page(clf, a, 'photos', 'unknown')
    assert time.time()-start<8
    assert 36<=html.count('data:image/jpeg')<=48
    assert len(html.encode())<3_000_000


# --- the file

@pytest.mark.parametrize('name', ['photos.csv','r','folder.html','file/r.html'])
def test_refused_before_the_work(name, trained_folder, tmp_path, monkeypatch, capsys):
    "Nothing is evaluated, and nothing written over"
    monkeypatch.chdir(tmp_path)
    (tmp_path/'folder.html').mkdir()
    for o in 'file','photos.csv': (tmp_path/o).write_text('mine')
    with pytest.raises(SystemExit) as e: mlc_evaluate(trained_folder, 'nowhere', report=name)
    assert e.value.code==2
    assert 'nowhere' not in capsys.readouterr().err
    assert (tmp_path/'photos.csv').read_text()=='mine'
    assert names(tmp_path)==['file','folder.html','photos.csv']


def test_whole_or_not_at_all(trained, pets, tmp_path, monkeypatch):
    "What was there stays if the page cannot be finished; else it is replaced"
    file = tmp_path/'deep'/'r.html'
    trained.report(file, pets)
    before = file.read_text(encoding='utf-8')
    def fail(*args): raise MemoryError
    with monkeypatch.context() as patched:
        patched.setattr(report, 'rehearsal_section', fail)
        with pytest.raises(MemoryError): trained.report(file, pets)
    assert file.read_text(encoding='utf-8')==before
    assert names(file.parent)==['r.html']


def test_bad_pictures(trained, pets, tmp_path, capsys):
    "An error, or left out and counted; a picture that goes after it was judged leaves a gap"
    draw(tmp_path/'p', ['pug','Siamese'], 4)
    (tmp_path/'p'/'pug_9.jpg').write_bytes(b'half a picture')
    with pytest.raises(InputError, match='pug_9'): trained.report(tmp_path/'r.html', tmp_path/'p')
    assert not (tmp_path/'r.html').exists()
    assert trained.report(tmp_path/'r.html', tmp_path/'p', skip_bad=True)['n_known']==8
    clf,a = made_up(['cat','dog'])
    assert 'cannot be shown' in Page(report.report_page(clf, a, 'photos')).text


# --- pieces of a page

def test_text_is_text():
    assert '&lt;b&gt;' in table(['<b>'], [['x']])
    assert '<b>' in table([Html('<b>x</b>')], [['x']])
    html = gallery([dict(src=None, lines=['<i>', '\x1b[31m\u202e'], alt='"><script>')])
    assert '<i>' not in html and '\x1b' not in html and '\u202e' not in html
    shown = Page(page('<title>', '<lead>', [('<h>', Html('<p>yes</p>')), ('h', 'a<b')]))
    assert shown.tags<=OURS
    for o in '<title>','<lead>','<h>','yes','a<b': assert o in shown.text


def test_pictures_are_small_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6 # turned
    Image.new('RGB', (800,400), 'teal').save(tmp_path/'a.jpg', exif=exif)
    assert small_picture(tmp_path/'a.jpg', 100).size==(50,100)
    Image.new('RGBA', (20,30), (0,0,0,0)).save(tmp_path/'b.png')
    assert small_picture(tmp_path/'b.png').size==(20,30)
    assert picture_uri(tmp_path/'b.png').startswith('data:image/jpeg;base64,')
    assert picture_uri(tmp_path/'none.jpg') is None


def test_figure_follows_the_page():
    "No black that a dark page would hide, no id that two figures share, and it is closed"
    import matplotlib.pyplot as plt
    before = plt.get_fignums()
    svgs = []
    for i in range(2):
        fig,ax = plt.subplots()
        ax.plot([0,1], [0,1], 'k')
        ax.set_title('a & b <i>')
        svgs.append(figure(fig, f'line "{i}"'))
    assert plt.get_fignums()==before
    for o in svgs:
        assert '#000000' not in o and 'http' not in o and '<i>' not in o
        assert '&quot;' in o
    ids = [set(re.findall(r'\bid="([^"]+)"', o)) for o in svgs]
    assert not ids[0] & ids[1]
