"The playground's networks can be trained anew: everything that the page needs comes out, and the same seed gives the same bytes"
import json
from mlc_course.ui.playground import keep_curve, load_page, page_data, train_page_model


def test_training(tmp_path):
    weights = []
    for seed in 0,1,1:
        train_page_model(tmp_path, epochs=1, seed=seed, say=lambda o: None)
        clf,twin,stored = load_page(tmp_path)
        assert clf.config['training']['seed']==seed and len(clf.refs)==500
        weights.append([(tmp_path/o).read_bytes() for o in ('model/model.safetensors','page.safetensors')])
    assert weights[0]!=weights[1]==weights[2]
    assert sorted(p.name for p in tmp_path.iterdir())==['model','page.safetensors']
    curve = keep_curve(clf, stored)
    assert len(curve)==102 and curve.drop(columns='network').map(lambda o: 0<=o<=1).all(axis=None)
    data = json.loads(page_data(tmp_path).removeprefix('window.playgroundData = '))
    assert data['vocab']==clf.vocab and len(data['sigmoid']['layers'])==5
