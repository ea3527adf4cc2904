"""The app under load: 2,000 requests, 20 at a time, every tenth a hostile file. Writes app.csv.

make bench PARTS=app_load                     # ours
make bench PARTS=app_load GRADIO=PYTHON       # and Gradio's, by a Python that has it and this package
"""
import csv, http.client, json, os, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent/'tests'), str(HERE)]
from visitors import app_visit, form, hostile_files, load, megabytes, running
from fastcore.basics import noop
from mlc_course import Classifier

N,AT_ONCE = 2000,20
FIELDS = ['app','requests','at_once','lost','other_answers','per_second','p50_ms','p99_ms','mb_before',
    'mb_peak','mb_after','mb_ten_visitors','note']
GRADIO = '''
import sys, gradio as gr
from mlc_course import Classifier
clf = Classifier.load(sys.argv[1])
def ask(path):
    answer = clf.predict(path)[0]
    if 'error' in answer: raise gr.Error(answer['error'])
    return dict(labels=answer['labels'])
demo = gr.Interface(ask, gr.File(), gr.JSON(), api_name='predict', flagging_mode='never')
demo.queue(default_concurrency_limit=int(sys.argv[2]), max_size=None)
demo.launch(server_name='127.0.0.1', quiet=True, prevent_thread_lock=True)
print(demo.local_url, flush=True)
demo.block_thread()
'''


def gradio_visit(url):
    "A visitor of Gradio's: upload, call, and wait for the event, as its own clients do"
    c = http.client.HTTPConnection(url.split('/')[2], timeout=300)
    def post(path, data, kind):
        c.request('POST', path, data, {'Content-Type': kind})
        return json.loads(c.getresponse().read())
    def visit(name, data):
        path, = post('/gradio_api/upload', *form_of(name, data))
        file = dict(path=path, meta={'_type': 'gradio.FileData'})
        call = post('/gradio_api/call/predict', json.dumps(dict(data=[file])), 'application/json')
        c.request('GET', f'/gradio_api/call/predict/{call["event_id"]}')
        text = c.getresponse().read().decode()
        event,_,said = text.rpartition('event: ')[2].partition('\ndata: ')
        if event=='complete': return json.loads(said)[0]
        return dict(error=said)
    return visit


def form_of(name, data):
    body,kind = form([(name,data)])
    return body.replace(b'name="photos"', b'name="files"'),kind


def photos():
    folder = Path(os.environ.get('FASTAI_HOME', HERE.parent.parent/'shared'))/'data/oxford-iiit-pet/images'
    return sorted(folder.glob('*.jpg'))


def mixed():
    "Nine photos, a hostile file, nine photos, ..."
    bad = [*hostile_files().items()]
    good = [(o.name,o.read_bytes()) for o in photos()[::2]]
    res = []
    for i in range(0, len(good)-8, 9): res += [*good[i:i+9], bad[i//9%len(bad)]]
    return res


def model(folder):
    "Four breeds, with the pretrained network"
    files = [o for o in photos() if o.name.split('_')[0] in ('Abyssinian','Bengal','Birman','Bombay')]
    (folder/'photos').mkdir()
    for o in files: (folder/'photos'/o.name).symlink_to(o)
    return Classifier.train(folder/'photos', say=noop).save(folder/'model')


def row(name, pid, new_visitor, files, expected, note):
    load(pid, new_visitor, files, 60, AT_ONCE) # all threads have run once
    time.sleep(3)
    before = megabytes(pid)
    res = load(pid, new_visitor, files, N, AT_ONCE)
    lost = N-sum(answer is not None for _,answer in res.replies)
    came = [(expected[file].get('labels'),answer.get('labels')) for file,answer in res.replies if answer]
    other = sum(a!=b for a,b in came)
    time.sleep(3) # whoever gives memory back may do so
    after = megabytes(pid)
    ten = load(pid, new_visitor, [o for o in files if 'error' not in expected[o[0]]], 200, 10).peak
    figures = [N, AT_ONCE, lost, other, N/res.wall, 1000*res.at(.5), 1000*res.at(.99), before, res.peak,
        after, ten]
    cells = [o if isinstance(o, int) else f'{o:.4g}' for o in figures]
    return dict(zip(FIELDS, [name, *cells, note]))


def ours(folder, files, expected):
    with running(folder/'model', '--rate', 0) as (p,url):
        yield row('mlc_app', p.pid, lambda: app_visit(url), files, expected, 'one process')


def gradio(folder, files, expected, python):
    script = folder/'gradio_app.py'
    script.write_text(GRADIO)
    for at_once in 1,4:
        env = dict(os.environ, GRADIO_ANALYTICS_ENABLED='False', GRADIO_TEMP_DIR=str(folder/'uploads'))
        command = [python, script, folder/'model', str(at_once)]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        url = p.stdout.readline().strip()
        note = 'one call at a time' if at_once==1 else f'{at_once} calls at a time'
        try: yield row('Gradio', p.pid, lambda: gradio_visit(url), files, expected, note)
        finally:
            p.terminate()
            p.wait()


def text_of(rows):
    "The table for people"
    head = '| | lost | a second | half within | 99 % within | MB before, at most, after | ten visitors |'
    lines = [head, '|---|---|---|---|---|---|---|']
    def mb(o, *names): return ', '.join(f'{float(o[n]):,.0f}' if o[n] else '–' for n in names)
    for o in rows:
        lost = '–' if o['lost'] in ('',None) else o['lost']
        sent = f"{lost} of {int(o['requests']):,}"
        times = ' | '.join(f'{float(o[n]):,.0f} ms' for n in ('p50_ms','p99_ms'))
        lines.append(f"| {o['app']}, {o['note']} | {sent} | {float(o['per_second']):.0f} | {times} | "
            f"{mb(o, 'mb_before', 'mb_peak', 'mb_after')} | {mb(o, 'mb_ten_visitors')} |")
    return '\n'.join(lines)


def main():
    "Measure, store, and give back the table for people"
    python,table,rows = os.environ.get('GRADIO'),HERE/'app.csv',[]
    if photos(): rows = measured(python)
    else: print('left out, no photos of pets: the app under load')
    names = {o['app'] for o in rows}
    if table.exists():
        with open(table) as f: rows += [o for o in csv.DictReader(f) if o['app'] not in names]
    with open(table, 'w', newline='') as f:
        out = csv.DictWriter(f, FIELDS)
        out.writeheader()
        out.writerows(rows)
    return text_of(rows)


def measured(python):
    "Rows of our app and, where there is such a Python, of Gradio's"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model(folder)
        files,clf = mixed(),Classifier.load(folder/'model')
        expected = {name: clf.predict(data)[0] for name,data in files}
        rows = [*ours(folder, files, expected)]
        if python: rows += gradio(folder, files, expected, python)
    for o in rows: print(o)
    return rows
