"The site's own tools: what becomes of a notebook, what the check of links finds, a small site end to end"
import base64, io, json, os, re, sys, types
import pytest
from fastcore.nbio import read_nb
from PIL import Image
from conftest import ROOT, python

import build_site, explorers, glossary, links, pages, run_course

NOTEBOOKS = build_site.notebooks(ROOT/'nbs', ROOT/'none')
LESSONS = ['index', *filter(pages.is_lesson, NOTEBOOKS)]
by_lesson = pytest.mark.parametrize('name', LESSONS)


def half_red(size=(64,48)):
    "A red picture with a blue right half"
    im,file = Image.new('RGB', size, 'red'),io.BytesIO()
    im.paste('blue', (size[0]//2, 0, *size))
    im.save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


def notebook(path, *cells):
    "A notebook of markdown (str) and code (str, outputs)"
    def cell(i, o):
        if isinstance(o, str): return dict(cell_type='markdown', id=f'c{i}', metadata={}, source=o)
        code = dict(source=o[0], outputs=o[1:], execution_count=None)
        return dict(code, cell_type='code', id=f'c{i}', metadata={})
    kernel = dict(name='python3', display_name='python3', language='python')
    path.parent.mkdir(parents=True, exist_ok=True)
    nb = dict(cells=[cell(*o) for o in enumerate(cells)], metadata=dict(kernelspec=kernel), nbformat=4)
    path.write_text(json.dumps(dict(nb, nbformat_minor=5)))
    return path


def shows(**data):
    "An output with `text_html` for text/html"
    data = {k.replace('_', '/', 1): v for k,v in data.items()}
    return dict(output_type='display_data', metadata={}, data=data)


def widget(**data):
    out = shows(**data)
    out['data'][pages.WIDGET] = dict(model_id='x', version_major=2, version_minor=0)
    return out


@pytest.fixture
def chapter(tmp_path):
    plot = '\n'.join(['fig,ax = plt.subplots()', *['ax.plot(x)']*6])
    return notebook(tmp_path/'05_train.ipynb', '# A title\n\n> A promise',
        ('#| hide\nset_up()',), ('#| default_exp metrics',),
        ('#| export\nbest = 1\ndef mean_ap(a):\n    return a\nclass _Inner: pass',),
        (plot, shows(image_png=half_red())),
        ('explore()', widget(image_png=half_red())), ('explore()', widget(text_plain='VBox()')))


def test_page(chapter):
    nb = pages.page(chapter)
    code = [c for c in nb.cells if c.cell_type=='code']
    assert pages.title(nb)=='5. A title'
    first = [c.source.splitlines()[0] for c in code]
    assert first==['best = 1', 'fig,ax = plt.subplots()', 'explore()', 'explore()']
    assert [c.metadata['open'] for c in code]==[True, False, True, True] # what only draws starts folded
    assert (code[0].metadata['module'], code[0].metadata['exports'])==('metrics', ['best','mean_ap'])
    assert code[1].metadata['module']==''
    assert pages.WIDGET not in json.dumps([c.outputs for c in code])
    # The picture, and a word on it
    assert [list(o['data']) for o in code[2].outputs]==[['image/png'], ['text/html']]
    assert [o['data']['text/html'] for o in code[3].outputs]==[pages.STILL]
    stored = shows(image_png=half_red(), text_plain='Explorer(children=())')
    assert [list(o['data']) for o in pages.for_page(stored)]==[['image/png','text/plain'], ['text/html']]


def test_explorer_moves(tmp_path):
    "An explorer with frames becomes a figure, with its still picture first; one without stays a picture"
    from mlc_course.ui.explorer import frames_name
    src,still = tmp_path/'frames'/frames_name(half_red()),half_red()
    src.mkdir(parents=True)
    for i in range(6): Image.new('RGB', (64,48), (40*i,0,0)).save(src/f'{i}.webp')
    controls = [dict(name='a < b', is_list=True, places=['no','yes']),
        dict(name='keep', is_list=False, places=['0.1','0.2','0.3'])]
    about = dict(controls=controls, start=4, said=[f'<b>{i}</b> </script>' for i in range(6)])
    (src/'explorer.json').write_text(json.dumps(about))
    frames = explorers.Frames(tmp_path/'frames', tmp_path/'copied')
    output = shows(image_png=still, text_plain='Explorer(children=())')
    moved, = pages.for_page(output, lambda png: frames.html(png, '../'))
    text = moved['data']['text/html']
    assert f'<img src="../_static/frames/{src.name}/4.webp"' in text
    assert '<label>a &lt; b <select><option>no</option><option selected>yes</option></select>' in text
    assert 'max="2" value="1"' in text
    assert text.count('</script>')==2 # of the words at the start, and the end of the script
    assert len(list((tmp_path/'copied'/src.name).iterdir()))==6
    assert frames.report().startswith('1 explorers move')
    other = shows(image_png=half_red((32,32)), text_plain='Explorer(children=())')
    assert len(pages.for_page(other, lambda png: frames.html(png, '')))==2
    plot = shows(image_png=still, text_plain='<Figure>')
    assert pages.for_page(plot, lambda png: frames.html(png, ''))==[plot]


def test_alt():
    "What is written on a picture comes first, then what its code says, then the words before it"
    png,svg = shows(image_png=half_red()),shows(**{'image_svg+xml': '<svg aria-label="from a &lt; b">'})
    drawn = shows(image_png=half_red(), text_plain='2 pictures: before; after')
    words = 'First.\n\nHere is **an ear**. Its map ([more](a.ipynb)):'
    def alt(code, output=png, before=words): return pages.alt(code, output, before)
    assert alt("show(title='It falls')", drawn)=='2 pictures: before; after'
    assert alt('pipeline()', svg)=='from a < b'
    assert alt('explore_kernel()').startswith('Edit a 3×3 filter')
    assert alt("ax.set(title='It falls')")=='It falls'
    assert alt("ax.set_title(f'{n} left')")=='Its map (more):'
    assert alt('plot()', before='It is one.\n\n**Predict, then run.** Guess!\n')=='Guess!'
    assert alt('plot()', before='Here they are. (Not all.)')=='Here they are.'


@by_lesson
def test_alts_of_lessons(name):
    "Every picture says what it shows, and no two say the same"
    cells = [c for c in pages.page(NOTEBOOKS[name]).cells if c.cell_type=='code']
    alts = [alt for c in cells for alt in c.metadata['alts']]
    assert len(alts)==sum(pages.is_picture(o) for c in cells for o in c.outputs)
    assert not [o for o in alts if len(o)<10]
    assert not {o for o in alts if alts.count(o)>1}


def test_page_asks_first(tmp_path):
    "After a request to predict, the last thing shown before the next words is closed"
    nb = pages.page(notebook(tmp_path/'05_x.ipynb', '# T\n\n> P', ('1', shows(text_plain='1')),
        'Why?\n\n**Predict, then run.** How many?',
        ('2', shows(text_plain='2')), ('3', shows(text_plain='3')), ('x = 3',),
        'So many.', ('show(4, title="4!")', shows(text_plain='4')),
        '**Predict, then run.**', ('show(5, title="5!")', shows(text_plain='5'))))
    code = [c for c in nb.cells if c.cell_type=='code']
    assert [c.source[:6] for c in code if c.metadata['guess']]==['3', 'show(5']
    is_open = [c.metadata['open'] for c in code]
    assert is_open==[True]*5+[False] # a title tells the answer


def test_thumbnail(chapter):
    nb = pages.page(chapter)
    left,right = (pages.thumbnail(nb, 'explore()', part) for part in ((0,0,.4,1), (.6,0,1,1)))
    middle = left.width//2,left.height//2
    assert left.size==right.size==(480,240)
    found = [left.getpixel(middle), right.getpixel(middle), left.getpixel((0,0))]
    assert found==[(255,0,0), (0,0,255), (255,255,255)]
    assert pages.thumbnail(nb, 'words that no cell holds').size==(480,240)


def test_course_map():
    "Every notebook has a row, lessons in their order, and the picture chosen for a card still exists"
    names = [name for name,*_ in pages.course_map(pages.page(NOTEBOOKS['index']))]
    chapters = {name: pages.page(p) for name,p in NOTEBOOKS.items() if not name.startswith('solutions/')}
    lessons = list(filter(pages.is_lesson, chapters))
    assert sorted(names)==sorted(chapters.keys() - {'index','glossary'})
    assert list(filter(pages.is_lesson, names))==lessons
    assert set(lessons)==pages.THUMBS.keys()
    folders = {name.partition('/')[0] for name in names if '/' in name}
    assert folders <= pages.FOLDERS.keys()
    lost = []
    for name,(words,_) in pages.THUMBS.items():
        if not any(words in code for code,_ in pages.pictures(chapters[name])): lost.append(name)
    assert not lost, f'no cell with the words that tools/site/pages.py looks for draws a picture: {lost}'


def test_hidden_definitions_are_closed():
    "What a lesson hides and the package takes can be opened on its page, so that links to it lead somewhere"
    nb = pages.page(NOTEBOOKS['06_where'])
    code = [c.metadata for c in nb.cells if c.cell_type=='code']
    game, = [o for o in code if 'pointing_game' in o['exports']]
    maps, = [o for o in code if 'class_maps' in o['exports']]
    assert not game['open'] and game['module']=='cam'
    assert maps['open'] and maps['module']=='cam'


def test_tables_of_the_front_page(tmp_path):
    "A table of lessons becomes cards, one of other notebooks links, any other stays; each in its place"
    head = '| notebook | question | module |\n|---|---|---|\n'
    lessons = head+'| [01_math](01_math.ipynb) | Why? | `math` |\n| [02_lost](02_lost.ipynb) | Who? | - |\n'
    group = f'<details>\n\n{head}| [ui/course](ui/course.ipynb) | How? | `ui.course` |\n\n</details>'
    other = '| a | b |\n|---|---|\n| 1 | 2 |\n'
    index = pages.page(notebook(tmp_path/'index.ipynb', '# Small', lessons, group, other))
    math = pages.page(notebook(tmp_path/'01_math.ipynb', '# Math'))
    course = pages.page(NOTEBOOKS['ui/course'])
    front = pages.front(index, {'index': index, '01_math': math, 'ui/course': course})
    cards,links,kept = [c.source for c in front.cells[1:4]]
    assert cards.startswith('<div class="cards">\n<a class="card" href="01_math.html"')
    assert '02_lost' not in cards # it is not built
    assert links==f'<details>\n\n- [{pages.title(course)}](ui/course.ipynb)\n\n</details>'
    assert kept==other


def test_order_of_pages():
    "Lessons, then the playground, what one looks up, and the other notebooks: so go previous and next"
    chapters = {name: pages.page(p) for name,p in NOTEBOOKS.items() if not name.startswith('solutions/')}
    trees = pages.front(chapters['index'], chapters, has_playground=True).cells[-1].source
    docs = re.findall(r'^\w[\w/]+$', trees, re.M)
    assert docs[:len(LESSONS)+3]==[*LESSONS[1:], 'playground', 'glossary', 'solutions/index', 'api/index']
    assert docs[len(LESSONS)+3].startswith('deeper/')


GLOSSARY = read_nb(NOTEBOOKS['glossary'])
TERMS = glossary.entries(GLOSSARY)


def test_glossary():
    "Sorted entries, short, each with the notebook that derives it, and no name twice"
    first = [o['names'][0].lower() for o in TERMS]
    every = [name for o in TERMS for name in o['names']]
    assert first==sorted(first)
    assert len(every)==len({*every})
    assert not [o['names'][0] for o in TERMS if len(o['text'].split())>45]
    assert not [m[1] for m in glossary.ENTRY.finditer(GLOSSARY.cells[-1].source) if '.ipynb)' not in m[2]]
    assert glossary.COMMON | glossary.NOT_OURS.keys() <= {*every}


@pytest.mark.parametrize('text,found', [
    ('Logits and a filter', ['Logits','filter']), ('mAP, AP and a map', ['mAP','AP']),
    ('its average precision', ['average precision']), ('precision', ['precision']),
    ('we keep the score', []), ('the head, as its head, heads of a coin', ['head']), ('filtered', [])])
def test_uses_of_terms(text, found):
    assert [text[a:b] for a,b,_ in glossary.uses(text, TERMS)]==found


def test_common_words_set_apart():
    assert [o['names'][0] for *_,o in glossary.uses('keep', TERMS, is_apart=True)]==['keep']


@by_lesson
def test_colab(name, monkeypatch):
    "A lesson links to itself on Colab; there, and only there, its first cell installs the package"
    cells,asked = read_nb(NOTEBOOKS[name]).cells,[]
    url = f'https://colab.research.google.com/github/mlc-course/mlc_course/blob/main/nbs/{name}.ipynb'
    assert f'<a href="{url}">Open in Colab</a>' in cells[1].source
    assert 'colab' not in pages.page(NOTEBOOKS[name]).cells[0].source.lower()
    shell = types.SimpleNamespace(system=asked.append)
    for tag in None,'release-colab':
        if tag: monkeypatch.setenv('COLAB_RELEASE_TAG', tag)
        exec(cells[0].source, dict(get_ipython=lambda: shell))
        assert asked==['pip install -q mlc_course && mlc_notebooks .']*bool(tag)


def test_pages_by_folder():
    "Lessons come first, then the folders one after the other, the answers last"
    folders = [name.rpartition('/')[0] for name in NOTEBOOKS]
    known = ['', *pages.FOLDERS, 'solutions']
    assert folders==sorted(folders, key=known.index)
    assert {'engine','ui','solutions'} <= set(folders)
    modules = pages.sources(ROOT/'mlc_course', list(NOTEBOOKS))
    assert (modules['metrics'], modules['ui.course'])==('05_train', 'ui/course')


def test_executed_if_later(tmp_path):
    "An executed notebook is shown if it is a later run of the same cells"
    nbs,build = tmp_path/'nbs',tmp_path/'done'
    stored = notebook(nbs/'engine'/'a.ipynb', '# A', ('1+1',))
    done = notebook(build/'engine'/'a.ipynb', '# A', ('1+1', shows(text_plain='2')))
    assert build_site.notebooks(nbs, build)=={'engine/a': done}
    notebook(done, '# A', ('1+2',))
    assert build_site.notebooks(nbs, build)=={'engine/a': stored}
    notebook(done, '# A', ('1+1',))
    os.utime(done, (1, 1))
    assert build_site.notebooks(nbs, build)=={'engine/a': stored}


@pytest.mark.parametrize('link,why', [
    ('b.html', ''), ('b.html#here', ''), ('#top', ''), ('sub/', ''), ('https://example.org', ''),
    ('c.html', 'no such file'), ('b%20c.html', 'no such file'),
    ('b.html#there', 'no such anchor'), ('#bottom', 'no such anchor')])
def test_links(tmp_path, link, why):
    (tmp_path/'sub').mkdir()
    (tmp_path/'sub'/'index.html').write_text('<a href="../a.html#top">up</a>')
    (tmp_path/'b.html').write_text('<p id="here">')
    (tmp_path/'a.html').write_text(f'<p id="top"><a href="{link}">')
    assert links.faults(tmp_path)==(2, [f'a.html: {link}: {why}'] if why else [])


@pytest.mark.parametrize('tag',
    ['<script src="{}">', '<link href="{}">', '<img src="{}">', '<iframe src="{}">'])
def test_nothing_from_elsewhere(tmp_path, tag):
    for url in 'https://cdn.example.org/a.js','//cdn.example.org/a.js':
        (tmp_path/'a.html').write_text(tag.format(url))
        assert links.faults(tmp_path)==(1, [f'a.html: {url}: fetched from elsewhere'])


def test_longest_first():
    order = list(map(run_course.name_of, run_course.chapters([])))
    assert order[:len(run_course.LONGEST)]==[*run_course.LONGEST]
    assert 'deeper/silence' in order[:1]
    wanted = [name for name in NOTEBOOKS if name.rpartition('/')[0] in ('','deeper')]
    wanted += ['ui/explorer','ui/explorers','ui/explorers_answers','ui/asker']
    wanted.remove('deeper/unseen_sets')
    assert sorted(order)==sorted(wanted)
    assert list(map(run_course.name_of, run_course.chapters(['deeper/unseen_sets'])))==['deeper/unseen_sets']
    names = map(run_course.name_of, run_course.chapters(['index.ipynb','ui/course','06_where']))
    assert list(names)==['06_where','index','ui/course']
    with pytest.raises(SystemExit, match='no such chapter: 12_more'): run_course.chapters(['12_more'])


def test_run(tmp_path, monkeypatch):
    "Each runs in its own folder; what fails is reported with its traceback and not kept for the site"
    for name in 'NBS','DONE': monkeypatch.setattr(run_course, name, tmp_path/name)
    good = notebook(tmp_path/'NBS'/'engine'/'good.ipynb', ('import os; os.path.basename(os.getcwd())',))
    bad = notebook(tmp_path/'NBS'/'bad.ipynb', ('1/0',))
    failed = run_course.run_all([good, bad], 2)
    assert len(failed)==1
    assert failed[0].startswith('\nbad\n')
    assert 'ZeroDivisionError' in failed[0]
    done = [p for p in run_course.DONE.rglob('*') if p.is_file()]
    assert done==[run_course.DONE/'engine'/'good.ipynb']
    assert "'engine'" in done[0].read_text()


@pytest.mark.parametrize('kind,folder', [('real','photos'), ('drawn','executed')])
def test_photos_stay_off_the_site(kind, folder):
    code,env = 'import run_course; print(run_course.DONE.name)',dict(os.environ, MLC_DATA=kind)
    res = python(code, cwd=ROOT/'tools', env=env)
    assert res.stdout==f'{folder}\n', res.stderr


def test_links_to_playground(tmp_path):
    "The folder that a notebook names becomes the page, or plain words on a site without it"
    text = ('In the [playground](playground/README.md), [here](../playground/README.md), '
        'not [there](other/README.md)')
    nb = pages.page(notebook(tmp_path/'a.ipynb', '# A', text))
    pages.link_playground(nb, True)
    linked = 'In the [playground](playground.md), [here](../playground.md), not [there](other/README.md)'
    assert nb.cells[1].source==linked
    nb = pages.page(notebook(tmp_path/'a.ipynb', '# A', text))
    pages.link_playground(nb, False)
    assert nb.cells[1].source=='In the playground, here, not [there](other/README.md)'


def test_is_current(tmp_path, monkeypatch):
    "A site is trusted until something that it is made from changes; caches don't count"
    monkeypatch.setattr(build_site, 'ROOT', tmp_path)
    monkeypatch.setattr(build_site, 'PICTURE', tmp_path/'images'/'playground.png')
    made,front = tmp_path/'nbs'/'a'/'page.html',tmp_path/'_site'/'index.html'
    cache = tmp_path/'nbs'/'.ipynb_checkpoints'/'a.ipynb'
    for p in made,cache,front: p.parent.mkdir(parents=True)
    made.touch()
    assert not build_site.is_current(front.parent)
    for t,p in enumerate((made, front, cache), 100):
        p.touch()
        os.utime(p, (t, t))
    assert build_site.is_current(front.parent)
    os.utime(made, (200, 200))
    assert not build_site.is_current(front.parent)


@pytest.fixture
def playground(tmp_path, monkeypatch):
    "The folder of a playground that writes a number into its page, and a stand-in for what makes its data"
    folder = tmp_path/'playground'
    parts = {'page.html': '<p id="pg">`````</p>', 'playground.css': '#pg { color: red }',
        'README.md': '# Playground', 'network.js': 'n = data.n + 1', 'playground.js': 'pg.textContent = n',
        'tour.css': '#pg { top: 0 }', 'tour.js': 'm = n'}
    folder.mkdir()
    for name,text in parts.items(): (folder/name).write_text(text)
    web = types.SimpleNamespace(page_data=lambda o: f'data = {{n: {len(list(o.iterdir()))}}}')
    monkeypatch.setitem(sys.modules, 'mlc_course.ui.playground', web)
    return folder


def check_playground(site):
    page,other = ((site/o).read_text(encoding='utf-8') for o in ('playground.html','01_math.html'))
    assert '<p id="pg">`````</p>' in page
    assert page.count('<h1>')==1
    loaded = re.findall(r'/playground/(\w+\.\w+)\?v=', page)
    assert loaded==['playground.css','tour.css','data.js','network.js','playground.js','tour.js']
    assert (site/'_static/playground/data.js').read_text()=='data = {n: 7}'
    for o in 'mystnb.','pygments.css','doctools.js':
        assert o in other
        assert o not in page
    assert '_static/playground/' not in other
    assert 'href="playground.html"' in other
    front = (site/'index.html').read_text(encoding='utf-8')
    card = r'<a class="card" href="playground.html">.*<strong>Try it now</strong><span>In the'
    assert re.search(card, front)


def test_small_site(tmp_path, capfd, playground):
    "Code folds, formulas are MathML, the API has its table of parameters; a broken link fails the build"
    table = ('| chapter | question | module |\n|---|---|---|\n'
        '| [01_math](01_math.ipynb) | Why? | `math` |\n'
        '| [ui/course](ui/course.ipynb) | How? | `ui.course` |')
    index = notebook(tmp_path/'index.ipynb',
        '# Small\n\nTry it now: in the [playground](playground/README.md)\n', table)
    math = notebook(tmp_path/'01_math.ipynb',
        '# Math of logits\n\nSee [the softmax](ui/course.ipynb), the [playground](playground/README.md), '
        '*Logits*, `softmax` and logits, '
        '$p = \\frac{1}{1+e^{-z}}$.\n\n$$\\sum_i x_i^2$$',
        ('1+1', shows(text_plain='2')), ('explore()', widget(image_png=half_red())),
        '**Predict, then run.** Twice 21?', ('2*21', shows(text_plain='42')), 'It is 42.')
    course = ROOT/'nbs'/'ui'/'course.ipynb'
    words = notebook(tmp_path/'glossary.ipynb', '# Glossary\n\n'
        '**logit**: A score before the sigmoid. [Chapter 01](01_math.ipynb)\n\n'
        '**softmax**: Shares `1` out. [Chapter 01](01_math.ipynb)')
    paths = {'index': index, '01_math': math, 'glossary': words, 'ui/course': course}
    site,work = tmp_path/'site',tmp_path/'work'
    assert build_site.build(paths, ROOT/'mlc_course', site, work, playground)==0, capfd.readouterr().out
    check_playground(site)
    page = (site/'01_math.html').read_text(encoding='utf-8')
    assert page.count('<math ')==2
    assert '<mfrac>' in page
    assert 'display="block"' in page
    assert page.count('<details class="fold" open>')==3
    guess, = re.findall('<details class="guess">(.*?)</details>', page, re.S) # closed
    assert '42' in guess and 'It is' not in guess
    assert pages.STILL in page
    assert 'application/vnd' not in page
    api = (site/'api'/'ui.course.html').read_text(encoding='utf-8')
    assert re.search(r'<table class="[^"]*params.*<code.*dest.*Folder', api, re.S)
    assert '../ui/course.html#def-copy_notebooks' in api
    appendix = (site/'ui'/'course.html').read_text(encoding='utf-8')
    assert '../api/ui.course.html' in appendix
    assert '../notebooks/ui/course.ipynb' in appendix
    # the address that nbdev writes into modules
    twin = (site/'ui'/'course.html.md').read_text(encoding='utf-8')
    assert 'def copy_notebooks' in twin
    front = (site/'index.html').read_text(encoding='utf-8')
    assert 'class="card" href="01_math.html"' in front
    assert 'href="ui/course.html"' in front
    llms = (site/'llms.txt').read_text(encoding='utf-8')
    assert llms.startswith('# mlc_course\n\n> ')
    listed = re.findall(r'^- \[(.+)\]\(https://[\w.-]+/mlc_course/(.+?)\)', llms, re.M)
    assert [title for title,_ in listed]==['Small', '1. Math of logits', 'mlc_course.ui.course', 'Glossary']
    assert not [file for _,file in listed if not (site/file).exists()]
    # The second use of a word is plain
    assert re.findall(r'<a class="term[^>]+>(?:<.+?>)?(\w+)', page)==['Logits','softmax']
    assert 'title="A score before the sigmoid."' in page
    assert 'id="term-logit"' in (site/'glossary.html').read_text(encoding='utf-8')
    download = json.loads((site/'notebooks'/'01_math.ipynb').read_text())
    assert download['cells'][0]['source'].startswith('# Math')
    assert (site/'notebooks'/'ui'/'course.ipynb').read_bytes()==course.read_bytes()

    notebook(math, '# Math\n\n[nothing there](12_more.ipynb), [playground](playground/README.md)')
    (playground/'page.html').unlink()
    before = (site/'index.html').stat().st_mtime_ns
    assert build_site.build(paths, ROOT/'mlc_course', site, work, playground)==1
    said = capfd.readouterr()
    # Links to a page that is not built are no fault
    assert '12_more' in said.err
    assert 'playground' not in said.err
    assert 'The site stays without a playground' in said.out
    assert (site/'index.html').stat().st_mtime_ns==before # the old site stays
