"Sphinx extension: code that folds, terms that are explained, formulas as MathML, parameters as a table"
import json, posixpath, re
from pathlib import Path

import glossary, pages
from docutils import nodes
from fastcore.docments import docments, empty
from latex2mathml.converter import convert
from mlc_course._modidx import d
from sphinx.transforms.post_transforms import SphinxPostTransform


class Fold(nodes.General, nodes.Element):
    "Code of a cell that opens and closes; `module` and `exports` say what the package takes from it"


def visit_fold(self, node):
    names,module = node['exports'],node['module']
    anchors = ''.join(f'<span id="def-{n}"></span>' for n in names)
    label = f'in mlc_course.{module}' if module else ''
    if f'api/{module}' in self.builder.env.found_docs: # else the checks of the exercises, which have no page
        label = f'<a href="{self.builder.get_relative_uri(self.docnames[0], f"api/{module}")}">{label}</a>'
    kind,is_open = 'fold exported' if module else 'fold',' open' if node['open'] else ''
    summary = f'<summary data-lines="{node["lines"]}">{label}</summary>'
    self.body.append(f'{anchors}<details class="{kind}"{is_open}>{summary}')


def depart_fold(self, node): self.body.append('</details>')


class Guess(nodes.General, nodes.Element):
    "What a reader was asked to predict: closed at first"


def visit_guess(self, node):
    self.body.append('<details class="guess"><summary>Your guess first, then look</summary>')


class FoldCode(SphinxPostTransform):
    "Wrap the code of each cell, and what it shows where a guess comes first"
    default_priority,formats = 199,('html',)

    def run(self, **kwargs):
        for code in list(self.document.findall(nodes.container)):
            if code.get('nb_element')!='cell_code_source': continue
            cell,n = code.parent,len(code.astext().splitlines())
            pictures = cell.findall(nodes.image)
            for picture,alt in zip(pictures, cell['cell_metadata']['alts']): picture['alt'] = alt
            fold = Fold(lines=f'{n} line{"s"*(n>1)}', **cell['cell_metadata']) # as pages.page wrote it
            cell.replace(code, fold)
            fold += code
            if cell['cell_metadata']['guess']: self.hide_outputs(cell)

    def hide_outputs(self, cell):
        for shown in list(cell):
            if shown.get('nb_element')!='cell_code_output': continue
            guess = Guess()
            cell.replace(shown, guess)
            guess += shown


NO_PROSE = nodes.reference, nodes.title, nodes.table, nodes.math, nodes.raw, nodes.literal_block


def ancestors(node):
    while node := node.parent: yield node


def is_prose(text):
    "Does a text stand in a paragraph, and not in a link, in a formula or in what a cell shows?"
    above = list(ancestors(text))
    if any(isinstance(o, NO_PROSE) or o.get('nb_element')=='cell_code_output' for o in above): return False
    return any(isinstance(o, nodes.paragraph) for o in above)


class LinkTerms(SphinxPostTransform):
    "Link the first use of each word of the glossary in a lesson, and say there what it means"
    default_priority,formats = 198,('html',)

    def run(self, **kwargs):
        path,name = Path(self.env.srcdir)/'glossary.json',self.env.docname
        if not path.exists() or not (pages.is_lesson(name) or name=='index'): return
        self.page = self.app.builder.get_relative_uri(name, 'glossary')
        terms = json.loads(path.read_text(encoding='utf-8'))
        self.left = {o['anchor'] for o in terms}
        for text in filter(is_prose, list(self.document.findall(nodes.Text))):
            self.link_in(text, terms)

    def link_in(self, text, terms):
        words,parent = text.astext(),text.parent
        is_code = isinstance(parent, nodes.literal)
        used = glossary.uses(words, terms, is_code or isinstance(parent, (nodes.emphasis,nodes.strong)))
        used = [o for o in used if not is_code or o[1]-o[0]==len(words)] # a name, and not a part of one
        parts,at = [],0
        for start,end,term in used:
            if term['anchor'] not in self.left: continue
            self.left.remove(term['anchor'])
            parts += [nodes.Text(words[at:start]), self.link(words[start:end], term)]
            at = end
        if parts: parent.replace(text, [*parts, nodes.Text(words[at:])])

    def link(self, word, term):
        url = f'{self.page}#{term["anchor"]}'
        return nodes.reference('', word, refuri=url, reftitle=term['text'], internal=True, classes=['term'])


def visit_math(self, node):
    self.body.append(f'<span class="math">{convert(node.astext())}</span>')
    raise nodes.SkipNode


def visit_math_block(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def as_rst(text, folder=''):
    "Docstring of a notebook in `folder`; only code in backticks and links to notebooks mean something"
    def part(o):
        if o[:1]=='`' and len(o)>1:
            code = o.replace('\\', r'\\')
            return rf'\ {code}\ '
        if link := re.fullmatch(r'\[(.+)\]\(([\w./]+)\.ipynb\)', o):
            page = posixpath.normpath(f'../{folder}/{link[2]}.html')
            return rf'\ `{link[1]} <{page}>`__\ '
        return re.sub(r'([\\*|_`])', r'\\\1', o)
    return ''.join(map(part, re.split(r'(`[^`]+`|\[[^]]+\]\([\w./]+\.ipynb\))', text)))


def page_of(name):
    "The page of a module or symbol in nbdev's index: its folder, and its name without a number"
    module = name
    while module not in d['syms'] and '.' in module: module = module.rpartition('.')[0]
    symbols = d['syms'].get(module, {})
    found = symbols.get(name) or next(iter(symbols.values()), [''])
    return found[0].partition('.html')[0]


def type_name(anno):
    if isinstance(anno, type) and not hasattr(anno, '__args__'): return anno.__name__
    return '' if anno is None else re.sub(r'\b(?:\w+\.)+', '', str(anno)) # Tensor, not torch.Tensor


def parameters(obj):
    "Rows of the table of `obj`: parameter, default, type, meaning"
    types,rows = getattr(obj.__init__ if isinstance(obj, type) else obj, '__annotations__', {}),[]
    for name,o in docments(obj, full=True, returns=True).items():
        if name in ('self','cls') or name=='return' and not o.docment: continue
        default = '' if o.default is empty or name=='return' else f'={o.default!r}'
        rows.append((name, default, type_name(types.get(name)), o.docment or ''))
    return rows


def param_table(rows, folder):
    cells = [('parameter', 'type', 'meaning')]
    for name,default,anno,meaning in rows:
        what = '*returns*' if name=='return' else f'``{name}{default}``'
        cells.append((what, f'``{anno}``' if anno else '', as_rst(' '.join(meaning.split()), folder)))
    lines = [f'   {"*" if i==0 else " "} - {o}' for row in cells for i,o in enumerate(row)]
    return ['', '.. list-table::', '   :header-rows: 1', '   :class: params', '', *lines, '']


def derivation(docs, name):
    "Link to the cell that `name` is exported from"
    if name not in d['syms'].get(name.rpartition('.')[0], {}): return []
    page = page_of(name)
    stem = next((s for s in docs if re.sub(r'(^|/)\d+_', r'\1', s)==page), None)
    if not stem: return []
    where = f'chapter {int(stem[:2])}' if stem[:2].isdigit() else 'its notebook'
    link = f'`Derived and checked in {where} <../{stem}.html#def-{name.rpartition(".")[2]}>`__'
    return ['', '.. rst-class:: derived', '', link]


def add_docments(app, what, name, obj, options, lines):
    "Docstring as reStructuredText, then the table of parameters"
    folder = page_of(name).rpartition('/')[0]
    lines[:] = [as_rst(l, folder) for l in lines]
    if what not in ('function','class','method'): return
    try: rows = parameters(obj)
    except (TypeError, OSError, ValueError): rows = [] # made at run time: has no source
    if any(meaning for *_,meaning in rows): lines += param_table(rows, folder)
    if what!='method': lines += derivation(app.env.found_docs, name)


def add_playground(app, pagename, templatename, context, doctree):
    "The playground loads its own style and scripts, not those for code and search, so that it weighs little"
    if pagename!='playground': return
    for name in 'playground','tour': app.add_css_file(f'playground/{name}.css')
    for name in 'data','network','playground','tour':
        app.add_js_file(f'playground/{name}.js', loading_method='defer')
    is_for_code = re.compile(r'(mystnb|pygments)\b.*css').search
    context['css_files'] = [o for o in context['css_files'] if not is_for_code(str(o.filename))]
    is_for_search = re.compile(r'(doctools|sphinx_highlight)\.js').search
    context['script_files'] = [o for o in context['script_files'] if not is_for_search(str(o.filename))]


def add_explorers(app, pagename, templatename, context, doctree):
    "Style and script of the explorers that move, for pages that have one"
    if 'class="explorer"' not in context.get('body', ''): return
    app.add_css_file('explorers.css')
    app.add_js_file('explorers.js', loading_method='defer')


def setup(app):
    app.add_node(Fold, html=(visit_fold, depart_fold))
    app.add_node(Guess, html=(visit_guess, depart_fold))
    app.add_post_transform(FoldCode)
    app.add_post_transform(LinkTerms)
    app.add_html_math_renderer('mathml', (visit_math, None), (visit_math_block, None))
    app.connect('autodoc-process-docstring', add_docments)
    app.connect('html-page-context', add_playground)
    app.connect('html-page-context', add_explorers)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
