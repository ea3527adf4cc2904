"Check the built site: every link leads to a file and its #anchor, and nothing comes from another host"
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    "Links of a page as `(tag, link)`, and its anchors"
    def __init__(self, text):
        super().__init__()
        self.links,self.anchors = {},set() # a dict for the order, each once
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for key,value in attrs:
            if key in ('href','src') and value: self.links[tag,value] = True
            elif key in ('id','name') and value: self.anchors.add(value)


def is_outside(link): return bool(urlsplit(link).scheme or urlsplit(link).netloc)


def read(site):
    "The pages of `site` (a folder) by path"
    return {p: Page(p.read_text(encoding='utf-8')) for p in sorted(Path(site).resolve().rglob('*.html'))}


def fault(path, tag, link, pages):
    "What is wrong with a link of the page at `path`, if anything"
    if is_outside(link): return 'fetched from elsewhere' if tag!='a' and not link.startswith('data:') else ''
    url = urlsplit(link)
    target = (path.parent/unquote(url.path)).resolve() if url.path else path
    if target.is_dir(): target /= 'index.html'
    if not target.is_file(): return 'no such file'
    has_anchors = url.fragment and target in pages
    return 'no such anchor' if has_anchors and unquote(url.fragment) not in pages[target].anchors else ''


def faults(site):
    "The number of links of `site`, and a line for each that is wrong"
    pages,root = read(site),Path(site).resolve()
    n,wrong = 0,[]
    for path,page in pages.items():
        n += len(page.links)
        for tag,link in page.links:
            why = fault(path, tag, link, pages)
            if why: wrong.append(f'{path.relative_to(root)}: {link}: {why}')
    return n,wrong
