"Explorers on a page: their main controls, and the frames that Python drew for each position of them"
import json, re, shutil
from html import escape, unescape

from mlc_course.ui.explorer import frames_name
from PIL import Image

STILL = 'A still picture: run the notebook to move it.'
MOVES = 'Drawn beforehand by the same Python. A running notebook has all values and all controls.'


def without_tags(text): return unescape(re.sub('<[^>]+>', '', text))


def control(name, is_list, places, at):
    "A list to choose from, or a slider with what is written beside it"
    if is_list:
        chosen = [f'<option{" selected" if i==at else ""}>{escape(o)}</option>' for i,o in enumerate(places)]
        return f'<span><label>{escape(name)} <select>{"".join(chosen)}</select></label></span>'
    written = escape(json.dumps(places))
    slider = f'<input type="range" min="0" max="{len(places)-1}" value="{at}" data-places="{written}">'
    beside = f'<output aria-hidden="true">{places[at]}</output>' # a screen reader hears it from the slider
    return f'<span><label>{escape(name)} {slider}</label>{beside}</span>'


def figure(about, address, size):
    "The HTML of an explorer: `about` is what `keep_frames` wrote, `address` the folder of its frames"
    controls,left = [],about['start']
    for o in reversed(about['controls']): # the last one is the quickest
        left,at = divmod(left, len(o['places']))
        controls.insert(0, control(**o, at=at))
    said = about['said'][about['start']]
    words = json.dumps(about['said'], ensure_ascii=False).replace('<', r'\u003c')
    img = (f'<img src="{address}/{about["start"]}.webp" alt="{escape(without_tags(said))}" '
        f'width="{size[0]}" height="{size[1]}" style="--width:{size[0]}px">')
    return '\n'.join([f'<figure class="explorer" data-frames="{address}">',
        f'<div hidden>{"".join(controls)}</div>', f'<p role="status">{said}</p>',
        f'<div class="frame">{img}</div>',
        f'<figcaption><span>{STILL}</span><span hidden>{MOVES}</span></figcaption>',
        f'<script type="application/json">{words}</script>', '</figure>'])


class Frames:
    "Where the frames are, and where those that a page shows shall be"
    def __init__(self,
        drawn,  # Folder of what `keep_frames` made; None: there is none
        copied, # `_static/frames` of the site
    ): self.drawn,self.copied,self.weights = drawn,copied,{}

    def html(self,
        png,  # Still picture of an explorer, base64
        root, # The way from the page to `_static`
    ):
        "That explorer as a figure that moves; None if it has no frames"
        name = frames_name(png)
        src = self.drawn and self.drawn/name
        if not src or not (src/'explorer.json').exists(): return None
        about = json.loads((src/'explorer.json').read_text(encoding='utf-8'))
        frames = [src/f'{i}.webp' for i in range(len(about['said']))]
        (self.copied/name).mkdir(parents=True, exist_ok=True)
        for o in frames: shutil.copy(o, self.copied/name)
        self.weights[name] = sum(o.stat().st_size for o in frames)
        return figure(about, f'{root}_static/frames/{name}', Image.open(frames[0]).size)

    def report(self):
        "How many explorers move, and what they weigh"
        if not self.weights: return 'No explorer moves: `make run` draws their frames'
        weights = [o/1e6 for o in self.weights.values()]
        total,most = sum(weights),max(weights)
        return f'{len(weights)} explorers move: {total:.1f} MB of frames, at most {most:.2f} each'
