"What Sphinx reads: each notebook as a page, the course map as cards, a page for each module"
import ast, base64, html, io, re
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

from fastcore.nbio import mk_cell, read_nb, write_nb
from nbdev.process import NBProcessor
from PIL import Image, ImageOps

import explorers
from mlc_course._modidx import d as index

# Chapter: words in the code that draws its picture for the map; its part to show (left, top, right, bottom)
THUMBS = {
    '01_convolution': ('Move the picture and the map moves with it', (.22,.2,.66,.98)),
    '02_sigmoid': ("title='softmax, cat held at 2'", (0,0,1,1)),
    '03_bce': ('Sure and right costs nothing', (0,0,1,1)),
    '04_data': ('Thirty scenes as columns', (0,0,1,1)),
    '05_train': ('F1 wants a lower threshold', (0,0,1,1)),
    '06_where': ('the threshold is asked', (.33,.1,1,1)),
    '07_unknown': ('A step to the left buys silence', (0,0,1,1)),
    '08_trust': ('worlds = dict(same=', (0,0,.5,1)),
    '09_counting': ('show_images(five', (.4,0,1,1)),
    '10_rare': ('of the six rarest', (0,.09,.5,1)),
    '11_ship': ("'alarm above'", (0,0,1,1)),
}
# Folders with what a lesson would drown in, in their order, and what the front page calls them
FOLDERS = {
    'deeper': 'Further experiments',
    'draw': 'How the pictures are drawn',
    'engine': 'What works under a classifier',
    'ui': 'Explorers, app and commands',
}
ROW = re.compile(r'^\| \[[\w/ ]+\]\(([\w/]+)\.ipynb\) \| (.*?) \| (.*?) \|\n?', re.M)
TABLE = re.compile(r'(?:^\|.*\n?)+', re.M)
PLAYGROUND = re.compile(r'\[([^]]+)\]\((\.\./)?playground/README\.md\)') # a link to it, as notebooks have it
TRY = re.compile(rf'^([^\n:]+): (.*{PLAYGROUND.pattern}.*)\n?', re.M)
WIDGET = 'application/vnd.jupyter.widget-view+json'
STILL = f'<p class="still">{explorers.STILL}</p>'


def course_map(nb):
    "Rows of the course map in `nb`: name (with its folder), question, modules"
    return ROW.findall('\n'.join(c.source for c in nb.cells if c.cell_type=='markdown'))


def is_lesson(name):
    "Is a page one of the course's chapters?"
    return name[:2].isdigit()


def number(stem):
    "'5. ' for 05_train, '' for an appendix"
    return f'{int(stem[:2])}. ' if stem[:2].isdigit() else ''


def title(nb):
    "The text of the first heading"
    return next(c.source for c in nb.cells if c.cell_type=='markdown').splitlines()[0].removeprefix('# ')


def pictures(nb):
    "Each picture of `nb` with the code that drew it"
    outputs = [(c.source, o.get('data', {})) for c in nb.cells for o in c.get('outputs', [])]
    return [(code, data['image/png']) for code,data in outputs if 'image/png' in data]


def thumbnail(nb, words='', part=(0,0,1,1), size=(480,240)):
    "The picture of the first cell with `words` (else the first one), cut to `part`, fitted into `size`"
    pics = pictures(nb)
    png = next((p for code,p in pics if words in code), pics[0][1])
    im = Image.open(io.BytesIO(base64.b64decode(''.join(png)))).convert('RGB')
    im = im.crop([round(p*n) for p,n in zip(part, im.size*2)])
    return ImageOps.pad(im, size, Image.LANCZOS, color='white')


def defined(code):
    "Public names that a cell of code defines"
    names = []
    for o in ast.parse(code).body:
        if isinstance(o, (ast.FunctionDef, ast.ClassDef)): names.append(o.name)
        elif isinstance(o, ast.Assign):
            names += [n.id for t in o.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return [n for n in names if n[0]!='_']


def is_plumbing(cell):
    "Does `cell` only draw, at some length?"
    lines = cell.source.splitlines()
    drawn = any('image/png' in o.get('data', {}) for o in cell.outputs)
    drawing = [l for l in lines if re.search(r'\b(axs?|plt|fig)\b', l)]
    return drawn and len(lines)>5 and len(drawing)>len(lines)/2


def last_sentence(markdown):
    "What the words before a picture say last, which introduces it"
    text = re.sub(r'\[([^]]+)\]\([^)]*\)', r'\1', markdown.strip().rpartition('\n\n')[2])
    text = re.sub(r'^#+ |[*`]', '', ' '.join(text.split()))
    sentences = re.split(r'(?<=[.?!:]) (?=[A-Z"(])', text)
    return next((o for o in reversed(sentences) if not o.startswith(('(','Predict,'))), '')


def explorer_doc(name):
    "What the function `name` says that its explorer does"
    module = next((m for m,symbols in index['syms'].items() if f'{m}.{name}' in symbols), None)
    return getattr(import_module(module), name).__doc__ if module else ''


def alt(code, output, before):
    """Words for who cannot see a picture: those stored with it, which are written on it; else what the
    explorer that draws it does, the title in the code, or how the words before it introduce it"""
    svg = ''.join(output['data'].get('image/svg+xml', ''))
    if found := re.search('aria-label="([^"]+)"', svg): return html.unescape(found[1])
    written = ''.join(output['data'].get('text/plain', '<'))
    if written[0]!='<' and not is_explorer(output): return written
    if found := re.search(r'\bexplore_\w+', code): return explorer_doc(found[0])
    found = re.search(r'''title\W+?(["'])(\w.{3,}?)\1''', code)
    return found[2] if found and '{' not in found[2] else last_sentence(before)


def is_explorer(output):
    "Is it one that is stored, without its view?"
    return bool(re.match(r'\w+\(children=', ''.join(output.get('data', {}).get('text/plain', ''))))


def shown(text):
    "HTML as the output of a cell"
    return dict(output_type='display_data', metadata={}, data={'text/html': text})


def for_page(output, moving=None):
    "The output without styles of its own; frames or a picture in place of the widget that no page can run"
    data = output.get('data', {})
    if 'text/html' in data:
        data['text/html'] = re.sub('<style.*?</style>', '', ''.join(data['text/html']), flags=re.S).strip()
        if not data['text/html']: return []
    if data.pop(WIDGET, None) is None and not is_explorer(output): return [output]
    if 'image/png' not in data: return [shown(STILL)]
    moves = moving and moving(''.join(data['image/png']))
    return [shown(moves)] if moves else [output, shown(STILL)]


def is_picture(output): return bool({'image/png','image/svg+xml'} & output.get('data', {}).keys())


def is_left_out(cell):
    "Hidden cells have no place on a page, unless the package takes a definition from them: those are closed"
    if 'default_exp' in cell.directives_: return True
    return 'hide' in cell.directives_ and not ('export' in cell.directives_ and defined(cell.source))


def answers_to_predict(cells):
    "After a request to predict, the last cell that shows something before the words go on"
    res,asked,last = [],False,None
    for c in [*cells, dict(cell_type='markdown', source='')]:
        if c['cell_type']=='code':
            if c['outputs']: last = c
            continue
        if asked and last: res.append(last)
        asked,last = '**Predict, then run.**' in c['source'],None
    return res


def for_site(source):
    "Markdown without the link to Colab, which stands above each page, and with the anchors of the site"
    def lower(m): return m[1]+re.sub(r'[^\w-]', '', unquote(m[2]).lower())
    source = re.sub(r'^<a .*>Open in Colab</a>\n*', '', source, flags=re.M)
    return re.sub(r'(\]\((?:[\w/]+\.ipynb)?#)([^)]+)', lower, source)


def page(path, moving=None):
    """The notebook at `path` as a page, without set-up and directives; code says if it is open, and for
    what. `moving` gives the HTML of an explorer by its still picture, or None"""
    nb = NBProcessor(path).nb # drops the lines of directives
    module = next((c.directives_['default_exp'] for c in nb.cells if 'default_exp' in c.directives_), '')
    nb.cells = [c for c in nb.cells if not is_left_out(c)]
    head = next(c for c in nb.cells if c.cell_type=='markdown')
    if path.parent.name!='solutions': head.source = head.source.replace('# ', f'# {number(path.stem)}', 1)
    predicted,before = answers_to_predict(nb.cells),''
    for c in nb.cells:
        if c.cell_type!='code':
            c.source = before = for_site(c.source)
            continue
        c.outputs = [o for out in c.outputs for o in for_page(out, moving)]
        exported = 'export' in c.directives_ and (c.directives_['export'] or module)
        is_set_up = path.stem=='index' and c.source.startswith(('import ','from '))
        guess = c in predicted
        tells = guess and 'title=' in c.source # the answer, in a title
        is_open = bool(exported) or not (is_set_up or tells or is_plumbing(c))
        if 'hide' in c.directives_: is_open = False
        c.metadata = dict(module=exported or '', exports=defined(c.source) if exported else [], open=is_open,
            guess=guess, alts=[alt(c.source, o, before) for o in c.outputs if is_picture(o)])
    nb.metadata.pop('widgets', None)
    return nb


def read_mark(nb):
    "At the end of a chapter, a box that read.js shows and ticks"
    box = '<label class="read-mark" hidden><input type="checkbox"> I have read this chapter</label>'
    nb.cells.append(mk_cell(box, 'markdown'))


def markdown(nb):
    "Words and code of a page, for programs that read: what nbdev's links in the modules lead to"
    parts = [f'```python\n{c.source}\n```' if c.cell_type=='code' else c.source for c in nb.cells]
    return '\n\n'.join(parts) + '\n'


def link_playground(nb, is_there):
    "Links to the playground's folder lead to its page, or are plain words where there is none"
    def link(m): return f'[{m[1]}]({m[2] or ""}playground.md)' if is_there else m[1]
    for c in nb.cells:
        if c.cell_type=='markdown': c.source = PLAYGROUND.sub(link, c.source)


def playground(fragment):
    "The page of the playground: `fragment` (HTML) under a title, without a list of sections beside it"
    return f'---\nhide-toc: true\n---\n# Playground\n\n``````{{raw}} html\n{fragment}\n``````\n'


def try_card(found, has_picture):
    "The line of the front page that invites to the playground, found by `TRY`, as a card"
    name,text = found[1],PLAYGROUND.sub(r'\1', found[2])
    img = '<img src="_static/playground.webp" alt="" width="480" height="240">' if has_picture else ''
    words = f'<strong>{html.escape(name)}</strong><span>{html.escape(text[0].upper()+text[1:])}</span>'
    link = f'<a class="card" href="playground.html">{img}<span>{words}</span></a>'
    return f'<div class="try">\n{link}\n</div>\n'


def card(stem, question, nb):
    "A chapter of the map: its picture, its title, and its question where the title is another"
    more = '' if question in title(nb) else f'<span>{html.escape(question)}</span>'
    src = f'_static/{stem}.webp'
    img = f'<img src="{src}" alt="" width="480" height="240" loading="lazy">' if pictures(nb) else ''
    return f'<a class="card" href="{stem}.html">{img}<strong>{html.escape(title(nb))}</strong>{more}</a>'


def toctree(caption, docs):
    return '\n'.join(['```{toctree}', f':caption: {caption}', ':hidden:', '', *docs, '```'])


def by_folder(rows, chapters):
    "Names of the pages beside the lessons, by the heading of their folder; those without a row come last"
    names = [name for name,*_ in rows]
    names += sorted(chapters.keys() - set(names))
    groups = {}
    for folder,heading in FOLDERS.items():
        inside = [name for name in names if name.startswith(f'{folder}/')]
        if inside: groups[heading] = inside
    return groups


def mapped(table, chapters):
    "A table found by `TABLE`: lessons as cards, other notebooks as links; one without either stays"
    rows = ROW.findall(table[0])
    if not rows: return table[0]
    cards,links = [],[]
    for name,question,_ in rows:
        if name not in chapters: continue
        if is_lesson(name): cards.append(card(name, question, chapters[name]))
        else: links.append(f'- [{title(chapters[name])}]({name}.ipynb)')
    if cards: cards = ['<div class="cards">', *cards, '</div>', '']
    return '\n'.join([*cards, *links, ''])


def front(nb, chapters, has_playground=False, has_picture=False):
    "The front page: cards for the table of chapters and the playground's line, then the order of all pages"
    rows = [r for r in course_map(nb) if r[0] in chapters]
    lessons = [name for name,*_ in rows if is_lesson(name)]
    groups = by_folder(rows, chapters)
    for c in nb.cells:
        if c.cell_type!='markdown': continue
        c.source = TRY.sub(lambda m: try_card(m, has_picture) if has_playground else '', c.source)
        c.source = TABLE.sub(lambda m: mapped(m, chapters), c.source)
    unlisted = sorted(filter(is_lesson, chapters.keys() - set(lessons)))
    trees = [toctree('The course', lessons + unlisted)]
    if has_playground: trees.append(toctree('Try it', ['playground']))
    trees.append(toctree('Look up', ['glossary']*('glossary' in chapters) + ['solutions/index','api/index']))
    trees += [toctree(heading, names) for heading,names in groups.items()]
    nb.cells.append(mk_cell('\n\n'.join(trees), 'markdown'))
    return nb


def listing(heading, text, docs):
    "A page that lists others: `docs` has the name and the title of each"
    tree = ['```{toctree}', ':maxdepth: 1', '', *[f'{name} <{doc}>' for doc,name in docs.items()], '```']
    return '\n'.join([f'# {heading}', '', text, '', *tree, ''])


def answers(solutions):
    "The page that lists the worked answers"
    def short(nb): return title(nb).removeprefix('Worked answers: ').capitalize()
    names = {name: number(name)+short(nb) for name,nb in solutions.items()}
    text = 'To the exercises at the end of each chapter, and of further pages. Try them there first.'
    return listing('Worked answers', text, names)


def sources(package, chapters):
    "Each module of `package` (a folder) that one of `chapters` exports, in their order: {module: chapter}"
    made = {}
    for path in package.rglob('[a-z]*.py'):
        found = re.search(r'File to edit: (?:\.\./)+nbs/([\w/]+)\.ipynb', path.read_text(encoding='utf-8'))
        module = '.'.join(path.relative_to(package).with_suffix('').parts)
        if found and found[1] in chapters: made[module] = found[1]
    return dict(sorted(made.items(), key=lambda o: (chapters.index(o[1]), o[0])))


def passed_on(code):
    "Names that a module takes from others and passes on: nbdev's `_all_`"
    found = re.findall(r'^_all_ = (\[.*?\])', code, re.M|re.S)
    return [name for o in found for name in ast.literal_eval(o)]


def api(module, chapter, nb, code):
    "The page of one module with this `code`; what it passes on has its place on another"
    built = f'Module ``mlc_course.{module}``, built in :doc:`{title(nb)} </{chapter}>`.'
    members = [f'.. automodule:: mlc_course.{module}', '   :members:', '   :undoc-members:']
    if elsewhere := passed_on(code): members.append(f'   :exclude-members: {", ".join(elsewhere)}')
    return '\n'.join([module, '='*len(module), '', built, '', *members, ''])


def api_index(modules, chapters):
    "The page that lists the modules"
    rows = [f'| [{m}]({m}.rst) | [{title(chapters[ch])}](../{ch}.ipynb) |' for m,ch in modules.items()]
    return '\n'.join(['# The package', '', 'Each module is exported from the notebook that explains it.', '',
        '| module | from |', '|---|---|', *rows, '', '```{toctree}', ':hidden:', '', *modules, '```', ''])
