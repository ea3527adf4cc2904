"The words of the course: the entries of nbs/glossary.ipynb, and where a lesson first uses one of them"
import re

ENTRY = re.compile(r'^(\*\*[^:\n]+\*\*): (.+)$', re.M)
# Everyday words too: they are ours only where a lesson sets them apart, in italics, bold or code
COMMON = {'deal','keep','kernel','known score','loud','neighbours','score'}
NOT_OURS = {'head': r'(?<!its )\bhead\b'} # an animal's head, and the heads of a coin


def anchor(name): return 'term-'+re.sub(r'\W+', '-', name.lower())


def names(entry): return re.findall(r'\*\*(.+?)\*\*', entry)


def plain(text):
    "Markdown as the words that it shows, without a link at its end"
    text = re.sub(r'\s*\[[^]]+\]\([^)]+\)$', '', text)
    text = re.sub(r'\[([^]]+)\]\([^)]+\)', r'\1', text)
    return re.sub(r'[*`]', '', text)


def entries(nb):
    "The glossary `nb`: of each entry its names, its anchor, and what it says"
    text = '\n'.join(c.source for c in nb.cells if c.cell_type=='markdown')
    found = ENTRY.finditer(text)
    return [dict(names=names(m[0]), anchor=anchor(names(m[1])[0]), text=plain(m[2])) for m in found]


def with_anchors(nb):
    "Each entry of the glossary `nb` gets its anchor"
    def marked(m): return f'<span id="{anchor(names(m[1])[0])}"></span>{m[0]}'
    for c in nb.cells:
        if c.cell_type=='markdown': c.source = ENTRY.sub(marked, c.source)


def pattern(name):
    "Finds `name`: also as a plural or at the start of a sentence, unless it has capitals"
    if name in NOT_OURS: return NOT_OURS[name]
    word = rf'\b{re.escape(name)}'
    return rf'(?i:{word}s?\b)' if name.islower() else rf'{word}\b'


def uses(text, terms, is_apart=False):
    "Each use of one of `terms` in `text`, as `(start, end, term)`; of two at the same place the longer one"
    found = []
    for term in terms:
        for name in term['names']:
            if name in COMMON and not is_apart: continue
            found += [(*m.span(), term) for m in re.finditer(pattern(name), text)]
    res,at = [],0
    for start,end,term in sorted(found, key=lambda o: (o[0], -o[1])):
        if start>=at: res.append((start, end, term))
        at = max(at, end)
    return res
