"Scores by sentences: the same as OpenCLIP's own, and every wrong request in one line"
import builtins, json, re
import numpy as np, pytest, torch
from PIL import Image
from ads_sentiment.core import AdsError
from ads_sentiment.data.annotations import find_annotations, read_labels
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.models.prompts import ZeroShot, ad_templates, clip_model, label_prompts
from ads_sentiment.models.weights import WeightsNotFound

def test_missing_extra(monkeypatch):
    found = builtins.__import__
    def no_open_clip(name, *args, **kwargs):
        if name=='open_clip': raise ImportError(name)
        return found(name, *args, **kwargs)
    monkeypatch.setattr(builtins, '__import__', no_open_clip)
    with pytest.raises(AdsError, match=r"pip install 'ads_sentiment\[prompts\]'"): ZeroShot(['Sad'])

open_clip = pytest.importorskip('open_clip', reason='needs open-clip-torch')
tower = dict(layers=2, width=64)
tiny = dict(embed_dim=32, vision_cfg=dict(image_size=64, head_width=32, patch_size=16, **tower),
            text_cfg=dict(context_length=77, vocab_size=49408, heads=2, **tower))

@pytest.fixture(scope='module', autouse=True)
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    (folder/'tiny-clip.json').write_text(json.dumps(tiny))
    (folder/'tiny-biased.json').write_text(json.dumps(tiny | dict(init_logit_bias=-10, custom_text=True)))
    open_clip.add_model_config(folder)

@pytest.fixture(scope='module')
def ads(tmp_path_factory): return demo_ads(tmp_path_factory.mktemp('ads')/'demo', n=40, seed=2)

@pytest.fixture()
def cache(tmp_path, monkeypatch): monkeypatch.setenv('ADS_SENTIMENT_CACHE', str(tmp_path/'cache'))

@pytest.mark.parametrize('name', ['tiny-clip', 'tiny-biased'])
def test_scores_are_those_of_open_clip(ads, cache, name):
    labels,files = ads.vocab[:4],list(ads.paths[:20]) # more than a batch on a CPU
    got = ZeroShot(label_prompts(labels), name, None)(files)
    torch.manual_seed(0)
    model = clip_model(name, None)[0].cpu()
    transform = open_clip.image_transform(64, is_train=False)
    text = open_clip.build_zero_shot_classifier(model, open_clip.get_tokenizer(name), [l.lower() for l in labels], ad_templates)
    with torch.no_grad():
        x = torch.stack([transform(Image.open(f)) for f in files])
        want = model.logit_scale.exp()*model.encode_image(x, normalize=True)@text + (model.logit_bias or 0)
    assert list(got)==labels and list(got.index)==[str(f) for f in files]
    assert np.allclose(got, want, atol=1e-4)
    assert ('biased' in name)==(model.logit_bias is not None)

def test_batches_are_as_one_by_one_and_order_is_that_of_the_request(ads, cache, tmp_path):
    zero,files = ZeroShot(ads.vocab, 'tiny-clip', None),list(ads.paths[:18])
    whole = zero(files)
    single = np.concatenate([zero([f.read_bytes()]) for f in files]) # bytes are not kept
    assert np.allclose(whole, single, atol=1e-4)
    assert np.array_equal(zero(files[::-1]), whole[::-1])
    swapped = ZeroShot(ads.vocab[::-1], 'tiny-clip', None)(files)
    assert list(swapped)==ads.vocab[::-1] and np.allclose(swapped[ads.vocab], whole, atol=1e-5)

def test_features_of_a_file_are_computed_once(ads, cache, monkeypatch):
    zero,files = ZeroShot(ads.vocab, 'tiny-clip', None),list(ads.paths[:5])
    first = zero(files[:3])
    asked = []
    monkeypatch.setattr('ads_sentiment.models.prompts.read_image', lambda p: asked.append(p) or Image.open(p))
    again = zero(files)
    assert asked==files[3:] and np.array_equal(again[:3], first)
    ZeroShot(ads.vocab[:2], 'tiny-clip', None)(files) # other sentences, the same images
    assert len(asked)==2
    ZeroShot(ads.vocab[:2], 'tiny-clip', None, seed=1)(files) # another model
    assert len(asked)==7

def test_sentences_of_the_list_of_labels(ads):
    root = ads.paths.iloc[0].parents[1]
    meanings = read_labels(find_annotations(root)/'Sentiments_List.txt')
    prompts = label_prompts(ads.vocab, meanings)
    assert list(prompts)==ads.vocab
    of = dict(zip(meanings.label, meanings.meaning))
    for l,p in prompts.items(): assert len(p)==len(ad_templates)*(1 + len([w for w in of[l].split(',') if w.strip()]))
    assert all(l.lower() in p[0] for l,p in prompts.items())

def test_sentences_of_the_published_list(pitt):
    prompts = label_prompts(['Active', 'Manly'], read_labels(find_annotations(pitt)/'Sentiments_List.txt'), ['{}'])
    assert prompts==dict(Active=['active', 'energetic', 'adventurous', 'vibrant', 'enthusiastic', 'playful'], Manly=['manly'])

def test_unreadable_images_have_no_scores(ads, cache, tmp_path, capsys):
    (tmp_path/'empty.jpg').touch()
    files = [tmp_path/'empty.jpg', ads.paths.iloc[0], tmp_path/'none.jpg', b'no image', Image.new('RGBA', (30,90))]
    zero = ZeroShot(['Sad'], 'tiny-clip', None)
    z = zero(files)
    assert z.Sad.isna().tolist()==[True, False, True, True, False]
    out = capsys.readouterr().out
    assert out.count('\n')==1 and '3 of 5 images' in out and 'empty.jpg (the file is empty)' in out
    assert zero(files[:1]).isna().all(axis=None) and zero([]).shape==(0, 1)
    with pytest.raises(AdsError, match='list of images'): zero(ads.paths.iloc[0])

def test_absent_weights_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr('ads_sentiment.models.weights.unreachable', lambda server: 'offline')
    monkeypatch.setattr('ads_sentiment.models.weights.huggingface_hub.try_to_load_from_cache', lambda *a: None)
    with pytest.raises(WeightsNotFound) as e: clip_model('ViT-B/32', 'openai')
    line = str(e.value)
    assert '\n' not in line
    assert re.search("ViT-B-32: weights 'openai'.*timm/vit_base_patch32_clip_224.openai.*offline.*file=PATH", line)

def test_a_file_of_the_cache_needs_no_network(tmp_path, monkeypatch):
    path = tmp_path/'open_clip_pytorch_model.bin'
    torch.save(dict(x=torch.zeros(1)), path)
    monkeypatch.setattr('ads_sentiment.models.weights.unreachable', lambda server: 'offline')
    monkeypatch.setattr('ads_sentiment.models.weights.huggingface_hub.try_to_load_from_cache',
                        lambda repo, file: str(path) if file==path.name else None)
    with pytest.raises(AdsError, match='cannot be read as weights of ViT-S-32-alt'): # found, and of another network
        monkeypatch.setattr(open_clip, 'list_models', lambda: ['ViT-S-32-alt'])
        monkeypatch.setattr(open_clip, 'list_pretrained_tags_by_model', lambda name: ['laion'])
        monkeypatch.setattr(open_clip, 'get_pretrained_cfg', lambda *a: dict(hf_hub='someone/model/'))
        clip_model('ViT-S-32-alt', 'laion')

@pytest.mark.parametrize('tag,activation', [('openai', 'QuickGELU'), ('laion2b_e16', 'GELU')])
def test_activation_and_preparation_are_those_of_the_tag(monkeypatch, tmp_path, tag, activation):
    cfg = open_clip.get_pretrained_cfg('ViT-B-32', tag) | dict(mean=(.1,.2,.3), resize_mode='squash')
    monkeypatch.setattr(open_clip, 'list_pretrained_tags_by_model', lambda name: [tag])
    monkeypatch.setattr(open_clip, 'get_pretrained_cfg', lambda *a: cfg)
    monkeypatch.setattr('ads_sentiment.models.prompts._load_weights', lambda *a: None)
    (tmp_path/'w.safetensors').touch()
    model,transform,_ = clip_model('tiny-clip', tag, tmp_path/'w.safetensors')
    kinds = {type(m).__name__ for m in model.modules()}
    assert activation in kinds and not kinds & ({'GELU', 'QuickGELU'} - {activation})
    assert transform(Image.new('RGB', (200,50), 'white')).shape==(3,64,64)
    assert '(0.1, 0.2, 0.3)' in str(transform) and 'CenterCrop' not in str(transform)

@pytest.mark.parametrize('kwargs,message', [
    (dict(name='ViT-B32'), "unknown CLIP model 'ViT-B32'; similar: ViT-B-32"),
    (dict(pretrained='laion2b'), r"unknown pretrained weights of ViT-B-32 'laion2b'.*laion2b_e16"),
    (dict(pretrained=None, file='none.safetensors'), 'weight file not found: none.safetensors')])
def test_wrong_names(kwargs, message):
    with pytest.raises(AdsError, match=message): ZeroShot(['Sad'], **kwargs)
