"""Models from strangers: a mutated folder is refused in one clear line, or it is a model; nothing else.

All mutations run in one child process, whose peak memory is measured, and which notes whatever a load does
besides reading."""
import hashlib, io, json, math, os, pickle, random, shutil, struct, sys, tempfile, unicodedata
from collections import Counter
from itertools import chain
from pathlib import Path
from conftest import call, draw, untrained

FREE = 'training','metrics','versions','rare','keep','kept' # fields that do not change what `predict` says
TOKENS = ['null', 'true', 'false', '0', '1', '-1', '7', '0.5', '-0.0', '1e30', '-1e31', '1e308', '1e999',
    '-1e999', 'NaN', '-Infinity', '9'*400, '9'*5000, '""', '"x"', '" "', r'"a\nb"', r'"\u001b[31mred"',
    r'"\u202efdp"', r'"\ud800"', r'"\u0000"', '"../../etc/passwd"', '"<script>alert(1)</script>"',
    r'"$\\frac$"', '"'+'y'*100_000+'"', '[]', '[[]]', '{}', '{"a":1}', '{"a":1,"a":2}', '['*5000+']'*5000,
    '['*100_000+']'*100_000, '[0.5,0.5]', '["cat","dog"]', '"resnet18"', '"vit_h_14"', '"timm/hf-hub:a/b"']


FACTS = dict(size=64, rare=['fox'], versions=dict(python='3.11'),
    training=dict(epochs=1, seed=0, pretrained=False),
    metrics=dict(n_known=20, exact_match=.8, macro_f1=.8, map=.9, answered=.9, answered_right=.8,
        n_unknown=5, silent=.7, auroc=.8, fpr95=.3, aurc=.1),
    rehearsal=dict(n_labels=3, mean=[.5]*100, lowest=[.25]*100, highest=[.75]*100))


def base(arch, vocab=('cat','dog'), threshs=(.4,.45)):
    "A model with every field that a trained one may have"
    return untrained(arch, vocab, facts=FACTS, thresh=-30., threshs=threshs, prior=(.6,.4))


# --- a model folder as two byte strings, and ways to spoil them

def paths_in(o, at=()):
    "All places in a configuration; of long lists the ends"
    yield at
    items = o.items() if isinstance(o, dict) else enumerate(o) if isinstance(o, list) else ()
    for k,v in items:
        if isinstance(o, dict) or k in (0, 1, len(o)-1): yield from paths_in(v, (*at, k))


def put(cfg, at, token):
    "JSON text of `cfg` with `token` at a place; None drops it"
    if not at: return (token or '').encode()
    res = json.loads(json.dumps(cfg))
    o = res
    for k in at[:-1]: o = o[k]
    if token is None: del o[at[-1]]
    else: o[at[-1]] = '@@'
    return json.dumps(res, indent=1, ensure_ascii=False).replace('"@@"', token or '').encode()


def bytes_mutated(rnd, data, lo=0, hi=None):
    "One to four bytes changed, removed, added or doubled"
    res = bytearray(data)
    for _ in range(rnd.choice([1,1,2,4])):
        i = rnd.randrange(lo, min(hi or len(res), len(res)))
        how = rnd.randrange(5)
        if how==0: res[i] ^= 1<<rnd.randrange(8)
        elif how==1: res[i] = rnd.randrange(256)
        elif how==2: del res[i:i+rnd.choice([1,1,7,100])]
        elif how==3: res[i:i] = rnd.randbytes(rnd.choice([1,1,7,100]))
        else: res[i:i] = res[i:i+rnd.choice([2,20,200])]
        if not len(res)>lo: return bytes(res)
    return bytes(res)


def header(weights):
    n = int.from_bytes(weights[:8], 'little')
    return json.loads(weights[8:8+n]),weights[8+n:]


def with_header(head, body, n=None):
    "Weights with another header, an object or bytes; `n` is the length it claims"
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    text += b' '*(-len(text)%8)
    return struct.pack('<Q', len(text) if n is None else n) + text + body


class Payload:
    def __init__(self, flag): self.flag = flag
    def __reduce__(self): return os.mkdir, (self.flag,)


def header_edits(rnd, weights):
    "One edit of the header of model.safetensors"
    head,body = header(weights)
    k,other = rnd.sample(sorted(o for o in head if o!='__metadata__'), 2)
    o = head[k]
    (a,b),shape = o['data_offsets'],o['shape']
    kind = rnd.randrange(17)
    if kind==0: o['dtype'] = rnd.choice(['F64','F16','BF16','I32','U8','BOOL','F8_E4M3','I64','X','',None,3])
    elif kind==1:
        ones = [1]*rnd.choice([5,200,20_000])
        o['shape'] = rnd.choice([[], [0], [1<<62], [1<<31, 1<<31], [-1], shape[::-1]+[1], ones,
            None, 'x', [1.5], [b-a]])
    elif kind==2:
        o['data_offsets'] = rnd.choice([[a+4,b+4], [b,a], [0,len(body)], [a,1<<63], [-1,b], [a], [],
            None, [a,b,b], [0.5,b]])
    elif kind==3: del head[k]
    elif kind==4:
        name = rnd.choice(['../../x', '', 'x'*5000, '\x1b[31m', 'a\nb', '0.0.0.weight.', '\u202ex'])
        head[name] = head.pop(k)
    elif kind==5: head[k],head[other] = head[other],head[k]
    elif kind==6: head['extra'] = dict(dtype='U8', shape=[0], data_offsets=[len(body),len(body)])
    elif kind==7: head['__metadata__'] = rnd.choice([{'a':'b'}, {'format':'pt'}, {'a':1}, [], 'x'])
    elif kind==8:
        claims = [0, 1, 7, 10**6, 10**9, (1<<63)-1, (1<<64)-1, len(weights), rnd.randrange(len(weights))]
        return with_header(head, body, rnd.choice(claims))
    elif kind==9:
        twice = json.dumps({k: head[other]})[1:]
        return with_header(f'{json.dumps(head)[:-1]},{twice}'.encode(), body)
    elif kind==10: return with_header(b'['*rnd.choice([10,200,100_000]), body)
    elif kind==11:
        other_type = rnd.choice([b'"F64"', b'"I32"', b'"F16"'])
        return with_header(json.dumps(head).encode().replace(b'"F32"', other_type), body)
    elif kind==12: return with_header(head, body+rnd.randbytes(rnd.choice([1,8,1000])))
    elif kind==13: return with_header(head, body[:-rnd.choice([1,8,1000])])
    elif kind==14:
        nothing = dict(dtype='U8', shape=[0], data_offsets=[len(body)]*2)
        many = {f't{i}': nothing for i in range(rnd.choice([10,3000,12_000]))}
        return with_header({**head, **many}, body)
    elif kind==15: head[k] = rnd.choice([None, [], {}, 'x', {**o, 'more':1}])
    else: return with_header({k:head[k] for k in reversed(head)}, body) # another order: the same weights
    return with_header(head, body)


def number_edits(rnd, weights):
    "Some numbers of one tensor replaced"
    head,body = header(weights)
    k = rnd.choice(sorted(o for o in head if o!='__metadata__' and head[o]['dtype']=='F32'))
    a,b = head[k]['data_offsets']
    x = rnd.choice([math.nan, math.inf, -math.inf, 3e38, -3e38, 1e30, -1e20, 1e-45, 0., -1., 1e4, 0.01])
    body, size = bytearray(body), (b-a)//4
    n = min(size, rnd.choice([1,1,3,size]))
    for i in rnd.sample(range(size), n): body[a+4*i:a+4*i+4] = struct.pack('<f', x)
    return weights[:-len(body)]+bytes(body)


def raw_edits(rnd, text):
    "Texts that are not quite JSON, or more than JSON"
    return rnd.choice([b'\xef\xbb\xbf'+text, text.decode().encode('utf-16'), text.decode().encode('utf-32'),
        text+text, text+b'\0', b'// hi\n'+text, text.replace(b'"', b"'"),
        text.replace(b'"cat"', b'"c\xe4t"'), text.replace(b'"cat"', b'"\xff\xfe"'),
        text.replace(b'"keep"', b'"size": 64, "keep"'), text.replace(b'"keep"', b'"size"'),
        text.replace(b'"cat"', rb'"\ud800"'), text.replace(b'"cat"', rb'"c\u001b[2Jt"'),
        text.replace(b'"cat"', rb'"c\nt"'), text.replace(b'"cat"', b'"c t"'),
        text.replace(b'"cat"', b'"'+b'c'*201+b'"'), text.replace(b'"cat"', '"c\u00adt猫"'.encode()),
        text.replace(b'"cat"', b'"<b>c</b>$x$"'), b'', b' ', b'null', b'[]', b'{}', b'{"format":'*50_000,
        text[:-2]+b',"more":'+b'9'*4000+b'}', text[:-2]+b',"more":'+b'[1,'*900+b'1'+b']'*900+b'}',
        b'\x80\x04'+text, text.lower(), text.upper()])


def pickles(rnd, flag):
    "A pickle or what torch.save makes of it, whose payload makes the folder `flag`"
    import torch
    if rnd.random()<.5: return pickle.dumps(Payload(flag), protocol=rnd.choice([0,1,2,4,5]))
    f = io.BytesIO()
    torch.save(dict(x=Payload(flag)), f)
    return f.getvalue()


def sealed(cfg, old, new):
    "`cfg` with the checksum of `new` in place of that of `old`"
    return cfg.replace(hashlib.sha256(old).hexdigest().encode(), hashlib.sha256(new).hexdigest().encode())


def mutations(rnd, cfg, weights, flag, share=1.):
    "`(kind, config.json, model.safetensors)`, bytes or a function that makes the file"
    parsed = json.loads(cfg)
    def some(n): return range(max(1, int(n*share)))
    places = list(paths_in(parsed))
    swaps = [(a,t) for a in places for t in TOKENS]
    for at in rnd.sample(places[1:], len(some(len(places)-1))):
        yield 'field dropped',put(parsed, at, None),weights
    for at,token in rnd.sample(swaps, len(some(1100))):
        yield 'other type or number',put(parsed, at, token),weights
    for _ in some(400): yield 'bytes of config.json',bytes_mutated(rnd, cfg),weights
    for _ in some(60): yield 'text of config.json',raw_edits(rnd, cfg),weights
    for _ in some(80): yield 'bytes of weights',cfg,bytes_mutated(rnd, weights)
    n = 8+int.from_bytes(weights[:8], 'little')
    def seal(o): return sealed(cfg, weights, o),o
    for _ in some(250): yield 'bytes of header, checksum right',*seal(bytes_mutated(rnd, weights, 0, n))
    for _ in some(150): yield 'bytes of numbers, checksum right',*seal(bytes_mutated(rnd, weights, n))
    for _ in some(300): yield 'header edited, checksum right',*seal(header_edits(rnd, weights))
    for _ in some(150): yield 'numbers edited, checksum right',*seal(number_edits(rnd, weights))
    for _ in some(40): yield 'truncated',cfg[:rnd.randrange(len(cfg))],weights
    for _ in some(20): yield 'truncated',cfg,weights[:rnd.randrange(len(weights))]
    for _ in some(40):
        cut = rnd.choice([rnd.randrange(20), rnd.randrange(n), rnd.randrange(len(weights))])
        yield 'truncated, checksum right',*seal(weights[:cut])
    for _ in some(20): yield 'pickle as weights, checksum right',*seal(pickles(rnd, flag))
    for _ in some(20): yield 'pickle as config.json',pickles(rnd, flag),weights
    for a,b in ((weights,cfg), (cfg,cfg), (weights,weights), (b'',weights), (cfg,b''),
            (None,weights), (cfg,None), (None,None)):
        yield 'swapped or missing',a,b
    for o in odd_files():
        yield 'not a plain file',o,weights
        yield 'not a plain file',cfg,o
    for o in rnd.sample(TOKENS, 6):
        yield 'both',put(parsed, rnd.choice(places), o),header_edits(rnd, weights)


def odd_files():
    "Functions that put something in the place of a file"
    def link(to): return lambda f: os.symlink(to or f, f) # None: to itself
    def unreadable(f): f.touch(0)
    return [os.mkfifo, os.mkdir, unreadable,
        *map(link, (None, '/dev/zero', '/dev/null', '/', 'nowhere', '/etc/passwd'))]


def sparse(head, n):
    "Makes a file of `head` and zeros, `n` bytes long, and its checksum; in little memory"
    def make(f):
        f.write_bytes(head)
        os.truncate(f, n)
    def checksum():
        h, left = hashlib.sha256(head), n-len(head)
        while left>0:
            block = min(left, 1<<20)
            h.update(bytes(block))
            left -= block
        return h.hexdigest().encode()
    return make, checksum


def large(cfg, weights):
    "Files that want much memory"
    parsed,old = json.loads(cfg),hashlib.sha256(weights).hexdigest().encode()
    for n in 10**9,10**13: yield 'giant file',sparse(cfg, n)[0],weights
    for n in 801_000_000,10**13: yield 'giant file',cfg,sparse(weights, n)[0]
    yield 'giant file',put(parsed, ('training',), '['+'[],'*5_200_000+'[]]'),weights
    many = ','.join(f'"{i}":{{}}' for i in range(1_000_000))
    yield 'giant file',put(parsed, ('training',), f'{{{many}}}'),weights
    yield 'giant file',put(parsed, ('vocab',), json.dumps([str(i) for i in range(100_001)])),weights
    head,body = header(weights)
    end,refs = len(body),head['references']
    (start,stop),width = refs['data_offsets'],refs['shape'][1]
    assert stop==end, 'references come last in our files'
    n = 700_000_000
    heads = [({'more': dict(dtype='F32', shape=[n//4], data_offsets=[end,end+n])}, end+n)]
    for n_refs in 120_000, 60_000_000//width, 700_000_000//width:
        to = start+n_refs*width
        heads.append(({'references': dict(refs, shape=[n_refs,width], data_offsets=[start,to])}, to))
    nothing = dict(dtype='U8', shape=[0], data_offsets=[end]*2)
    heads.append(({f'{i}': nothing for i in range(200_000)}, end))
    for more,n in heads:
        data = with_header({**head, **more}, body)
        n_head = len(data)-len(body)
        first = data[:n_head+min(n, start)] if n>end else data
        make, checksum = sparse(first, n_head+n)
        yield 'giant file',cfg.replace(old, checksum()),make


# --- what must hold of each

def legit(folder, sound):
    "Is this another sound model, by checks of its own?"
    from safetensors.numpy import load_file
    import numpy as np
    cfg = json.loads((folder/'config.json').read_text(encoding='utf-8'))
    old = json.loads((sound/'config.json').read_text())
    weights = (folder/'model.safetensors').read_bytes()
    assert hashlib.sha256(weights).hexdigest()==cfg['weights_sha256']
    for k,v in old.items(): # the same kinds of values in the same places
        if k not in FREE: same_kind(cfg[k], v, k)
    assert all(0<=o<=1 for o in [*cfg['thresholds'].values(), *(cfg['score']['prior'] or [])])
    assert set(cfg['thresholds'])==set(cfg['vocab'])
    assert cfg['score']['prior'] is None or len(cfg['score']['prior'])==len(cfg['vocab'])
    told = cfg['rehearsal'] or {}
    assert all(0<=o<=1 for k in told if k!='n_labels' for o in told[k])
    assert 32<=cfg['size']<=1024
    assert 1<=cfg['score']['k']<=1000
    assert min(cfg['score']['std'].values())>0
    assert not set(' \n\x1b\u2028\u202e') & set(''.join(cfg['vocab']))
    a, b = load_file(folder/'model.safetensors'), load_file(sound/'model.safetensors')
    assert set(a)==set(b)
    for k in a:
        assert np.isfinite(a[k]).all()
        assert a[k].dtype==b[k].dtype
        assert a[k].shape==b[k].shape or k=='references'
    return True


def same_kind(a, b, at):
    def num(o): return type(o) in (int,float)
    both_numbers = num(a) and num(b) and math.isfinite(a)
    if a is None and at in ('prior','rehearsal'): return # a model may be without
    assert both_numbers or type(a) is type(b) or at=='thresh', f'{at}: {a!r:.80} in place of {b!r:.80}'
    if isinstance(b, dict) and at!='thresholds':
        assert set(a)==set(b), at
        for k in b: same_kind(a[k], b[k], k)
    if isinstance(b, list):
        assert len(a)==len(b), at
        for x,y in zip(a, b): same_kind(x, y, at)


def answers(clf, pics):
    "What people and programs see of a model: nothing here may fail"
    from mlc_course.ui.app_page import Look,main_page,promise
    from mlc_course.ui.cli import answer_line
    res = clf.predict(pics)
    for o in res:
        if 'error' not in o:
            assert o['known']==bool(o['labels']), o
            assert math.isfinite(o['score']) or not o['labels'], o
        assert not any(unicodedata.category(c) in ('Cc','Cs','Zl','Zp') for c in answer_line(o)), o
        json.dumps(o, ensure_ascii=False).encode()
    assert promise(clf)[0].startswith('It knows')
    assert '<h1>Ask the model</h1>' in main_page(Look(clf), 1)
    assert 'Classifier(' in repr(clf)
    if clf.decision.keep_table: clf.with_keep(.5).predict(pics[:1])
    return repr(clf.vocab)+repr(res)


DEEDS = ('pickle.find_class', 'os.system', 'os.exec', 'os.posix_spawn', 'subprocess.Popen', 'socket.connect',
    'os.mkdir', 'os.remove', 'os.rename')


class Watch:
    "Notes what a load does besides reading: files written, code unpickled, programs and connections started"
    def __init__(self):
        self.on,self.seen = False,[]
        sys.addaudithook(self.hook)
    def hook(self, event, args):
        if not self.on: return
        writes = event=='open' and isinstance(args[2], int) and args[2]&(os.O_WRONLY|os.O_RDWR|os.O_CREAT)
        if writes: self.seen.append(f'{event} {args[0]}')
        if event in DEEDS: self.seen.append(f'{event} {args!r:.200}')


def judge(folder, sound, expected, pics, watch):
    "'refused', 'equal' or 'another model'; raises whatever must not be"
    from mlc_course.classifier import Classifier
    from mlc_course.engine.core import InputError
    watch.on = True
    try: clf = Classifier.load(folder)
    except InputError as e:
        said = str(e)
        assert str(folder) in said, said[:1000]
        assert said.isprintable(), said[:1000]
        assert 20+len(str(folder))<len(said)<500, said[:1000]
        return 'refused'
    finally: watch.on = False
    if answers(clf, pics)==expected: return 'equal'
    legit(folder, sound)
    return 'another model'


def write(folder, files):
    for name,o in zip(('config.json','model.safetensors'), files):
        if o is None: continue
        if callable(o): o(folder/name)
        else: (folder/name).write_bytes(o)


def run(arch, share, more, seed, tmp, watch, counts, faults):
    from mlc_course.classifier import Classifier
    sound, flag = base(arch).save(tmp/arch), str(tmp/f'{arch}_flag')
    pics = sorted(draw(tmp/'pictures', ['pug','Siamese'], 1, 64).iterdir())
    expected = answers(Classifier.load(sound), pics)
    cfg, weights = ((sound/o).read_bytes() for o in ('config.json','model.safetensors'))
    cases = mutations(random.Random(seed), cfg, weights, flag, share)
    if more: cases = chain(cases, large(cfg, weights))
    for i,(kind,*files) in enumerate(cases):
        folder = tmp/'m'
        folder.mkdir()
        write(folder, files)
        try: counts[kind,judge(folder, sound, expected, pics, watch)] += 1
        except BaseException as e:
            if isinstance(e, KeyboardInterrupt): raise
            faults.append(f'{arch} {i} {kind}: {type(e).__name__} {e!s:.300}')
        if Path(flag).exists(): faults.append(f'{arch} {i} {kind}: its code was run')
        shutil.rmtree(folder)


def main(seed=0):
    import resource
    import timm # not under watch: its import brings torch's compiler, which makes a folder for itself
    counts,faults,watch = Counter(),[],Watch()
    with tempfile.TemporaryDirectory() as tmp:
        run('efficientnet_lite0', .08, False, seed, Path(tmp), watch, counts, faults)
        run('small_cnn', 1, True, seed, Path(tmp), watch, counts, faults)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    print(json.dumps(dict(counts=[[*k,n] for k,n in sorted(counts.items())], faults=faults[:20],
        n_faults=len(faults), seen=watch.seen[:20], memory=memory)))


def test_mutations(says):
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)) # it imports conftest.py too
    out = call(sys.executable, __file__, env=env, timeout=600)
    assert not out.returncode, out.stderr[-2000:]
    res = json.loads(out.stdout.splitlines()[-1])
    total, kinds = Counter(), {}
    for kind,what,n in res['counts']:
        total[what] += n
        kinds.setdefault(kind, {})[what] = n
    for kind,o in kinds.items(): says(f'  {kind}: '+', '.join(f'{n} {what}' for what,n in o.items()))
    says(f'{sum(total.values())} mutated models: {dict(total)}; peak memory {res["memory"]/1e9:.2f} GB')
    assert not res['n_faults'], '\n'.join(res['faults'])
    assert not res['seen'], res['seen']
    assert sum(total.values())>=2000
    assert res['memory']<2e9
    fewest = min(total[o] for o in ('refused','equal','another model'))
    assert fewest>50 # else the mutations are too tame or too wild


def test_odd_labels_are_shown(tmp_path):
    "A label of a stranger is text, never markup or a formula"
    import torch
    from mlc_course.ui.app_page import Look,answer_card,main_page
    from mlc_course.classifier import Classifier
    from mlc_course.draw.scenes import draw_portrait
    from mlc_course.ui.asker import explore_model
    odd = r'$\frac$', '<script>alert(1)</script>'
    clf = base('small_cnn', vocab=odd, threshs=(0.,0.))
    clf.save(tmp_path/'m')
    widget = explore_model(Classifier.load(tmp_path/'m'), {'pug': draw_portrait('pug', 0, 64)[0]})
    assert widget._repr_mimebundle_()['image/png']
    card = answer_card(Look(clf), 'a.jpg', torch.zeros(1, 2), torch.ones(1))
    for html in widget.text.value, main_page(Look(clf), 1), card:
        assert odd[0] in html
        assert '<script>' not in html and '&lt;script&gt;alert(1)' in html


if __name__=='__main__': main(*map(int, sys.argv[1:]))
