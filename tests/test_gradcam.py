"Our maps against those of the package grad-cam, which explains one label and one layer at a time with hooks on the way back."
import numpy as np, pytest, torch
from torch import nn
from ads_sentiment.explain.explanation import _show_prob
from ads_sentiment.style import new_figure
from ads_sentiment.models.backbones import FrozenBody, backbones, estimate_bn, get_backbone
from ads_sentiment.models.weights import load_body
from ads_sentiment.explain.gradcam import at_rest, cams_from, cut_forward, label_grads, layer_cams, scaled

peer = pytest.importorskip('pytorch_grad_cam', reason='the package grad-cam is needed for these tests alone: pip install grad-cam')
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

n,labels,n_labels,size = 8,[0,2,3,5,6],7,96 # small images, because the package is slow; maps of 48, 6 and 3 pixels a side
theirs = {'gradcam': peer.GradCAM, 'hirescam': peer.HiResCAM, 'layercam': peer.LayerCAM, 'gradcam++': peer.GradCAMPlusPlus}

def pictures(seed):
    "Smooth random images"
    x = torch.randn(n, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(x, size=(size,size), mode='bicubic')

def trained(body, head):
    "The head after a few steps that tell images apart by their colour"
    x = torch.cat([pictures(s) for s in (1,2)])
    y = (x.mean((2,3))@torch.randn(3, n_labels, generator=torch.Generator().manual_seed(3)) > 0).float()
    with torch.no_grad(): feats = body(x)
    head.requires_grad_(True)
    opt = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(30):
        opt.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(head(feats), y)
        loss.backward()
        opt.step()
    assert loss < .69
    return head

def network(name, head):
    "A body with random weights and BatchNorm statistics from images, and a head"
    torch.manual_seed(7)
    b = get_backbone(name)
    body,used = load_body(name, 'auto' if name=='efficientnet_lite0' else 'random')
    if used.startswith('random'): estimate_bn(body, [pictures(s) for s in (4,5)])
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b.nf, 32), nn.ReLU(inplace=True), nn.Linear(32, n_labels))
    return nn.Sequential(body.eval(), trained(body, top) if head=='trained' else top).eval(),[body.get_submodule(l) for l in b.layers]

def raw(cam):
    "Keep the maps that the package computes, before it scales and enlarges them"
    kept,make = [],cam.get_cam_image
    def keep(*args, **kwargs):
        kept.append(make(*args, **kwargs))
        return kept[-1]
    cam.get_cam_image = keep
    return kept

def of_package(kind, model, x, layer):
    "Maps (N, labels, h, w) as computed, and as the package returns them, in the size of the images"
    with kind(model=model.requires_grad_(True), target_layers=[layer]) as cam:
        kept = raw(cam)
        shown = [cam(input_tensor=x, targets=[ClassifierOutputTarget(j)]*len(x)) for j in labels]
    return np.stack(kept, 1),np.stack(shown, 1)

def by_own_max(maps):
    "Positive part by its maximum; NaN where there is none"
    maps = np.maximum(maps, 0)
    top = maps.max((2,3), keepdims=True)
    return np.where(top>0, maps/np.where(top>0, top, 1), np.nan)

def apart(a, b):
    "Largest difference; both must be NaN in the same places"
    assert (np.isnan(a)==np.isnan(b)).all()
    return np.nanmax(np.abs(a-b))

@pytest.mark.parametrize('head', ['random', 'trained'])
@pytest.mark.parametrize('name', backbones)
def test_maps_equal_the_package(name, head):
    "Three layers, 8 images, 5 labels: as computed, by their own maximum; and as returned, by its scaling"
    model,layers = network(name, head)
    x = pictures(0)
    ours = layer_cams(nn.Sequential(FrozenBody(model[0]), model[1]), x, layers, labels)
    for place,mine,layer in zip(('first', 'middle', 'last'), ours, layers):
        want,shown = of_package(peer.GradCAM, model, x, layer)
        assert mine.shape==want.shape==(n, len(labels), *want.shape[2:])
        d = apart(mine.numpy(), by_own_max(want))
        print(f'{name}, {head} head, {place} layer, {want.shape[-1]} px: {d:.1e}')
        assert d <= 1e-3
        clear = np.maximum(want, 0).max((2,3)) > 1e-3 # so that the package's 1e-7 is less than our tolerance
        scaled = np.stack([scale_cam_image(scale_cam_image(np.nan_to_num(m), (size,size))) for m in mine.numpy()])
        if clear.any(): assert np.abs(scaled-shown)[clear].max() <= 1e-3

@pytest.mark.parametrize('method', list(theirs)[1:])
def test_other_methods_equal_the_package(method):
    "Where the definitions agree; for Grad-CAM++ in double precision and with gradients so large that the package's 1e-6 doesn't matter"
    model,layers = network('mobilenet_v3_large', 'trained')
    x = pictures(0)
    if method=='gradcam++':
        model,x = model.double(),x.double()
        with torch.no_grad(): model[1][-1].weight *= 1e6
    for mine,layer in zip(layer_cams(model, x, layers, labels, method), layers):
        want,_ = of_package(theirs[method], model, x, layer)
        assert apart(mine.numpy(), by_own_max(want)) <= 1e-3

def test_eigencam_equals_the_package_up_to_its_sign():
    model,layers = network('mobilenet_v3_large', 'random')
    logits,maps = cut_forward(model, pictures(0), layers, grads=False)
    for A,mine in zip(maps, cams_from(logits, maps, [0], 'eigencam')):
        want = get_2d_projection(A.detach().numpy())[:,None]
        for m,w in zip(mine.numpy(), want): assert min(np.abs(m-np.maximum(s*w, 0)/np.abs(w).max()).max() for s in (1,-1)) <= 1e-3

def test_labels_of_its_own_for_each_image_and_chunks():
    model,layers = network('efficientnet_lite0', 'random')
    x = pictures(0)
    all_labels = layer_cams(model, x, layers[1:], list(range(n_labels)), chunk=3)
    own = [[i%n_labels, (i+3)%n_labels] for i in range(n)]
    for every,some in zip(all_labels, layer_cams(model, x, layers[1:], own)):
        for i,ids in enumerate(own): np.testing.assert_allclose(some[i].numpy(), every[i,ids].numpy(), atol=1e-3)

layouts = {'vit_tiny_patch16_224': lambda t: t[:,1:].reshape(len(t), 14, 14, -1).permute(0,3,1,2),
           'swin_tiny_patch4_window7_224': lambda t: t.permute(0,3,1,2), 'convnext_atto': None}

@pytest.mark.parametrize('method', ['gradcam', 'hirescam'])
@pytest.mark.parametrize('name', layouts)
def test_maps_of_transformers_equal_the_package_with_its_reshape(name, method):
    "Default layers of a body from timm, whose tokens we arrange without being told; several labels in one pass"
    torch.manual_seed(7)
    b = get_backbone(f'timm/{name}')
    body,_ = load_body(b, 'random')
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b.nf, n_labels))
    model = nn.Sequential(FrozenBody(body), head).eval()
    x = nn.functional.interpolate(pictures(0)[:2], size=(b.size,b.size), mode='bicubic')
    mine = layer_cams(model, x, [body.get_submodule(l) for l in b.layers], labels, method, chunk=3)
    for layer,ours in zip(b.layers, mine):
        if (method,layer)==('hirescam','features.stem.0'): continue # LayerNorm follows: gradient times map is 0 everywhere
        plain = nn.Sequential(load_body(b, 'random')[0], head).eval().requires_grad_(True)
        with theirs[method](model=plain, target_layers=[plain[0].get_submodule(layer)], reshape_transform=layouts[name]) as cam:
            kept = raw(cam)
            for j in labels: cam(input_tensor=x, targets=[ClassifierOutputTarget(j)]*len(x))
        want = np.stack(kept, 1)
        assert ours.shape==want.shape
        d = apart(ours.numpy(), by_own_max(want))
        print(f'{name}, {layer}, {want.shape[-1]} px: {d:.1e}')
        assert d <= 1e-3

def test_maps_of_a_mirrored_body_are_those_of_both_views():
    "The evidence of the image and that of its mirror image, flipped back, before scaling"
    model,_ = network('efficientnet_lite0', 'random')
    b,x = get_backbone('efficientnet_lite0'),pictures(0)[:2]
    both = nn.Sequential(FrozenBody(model[0], mirror=True), nn.Sequential(*model[1][:2], nn.Linear(b.nf, n_labels)))
    one = nn.Sequential(FrozenBody(model[0]), both[1])
    for layer in b.layers:
        got = layer_cams(both, x, [both[0].get_submodule(layer)], labels)[0]
        parts = []
        for view in (x, x.flip(-1)):
            with at_rest(one): logits,maps = cut_forward(one, view, [one[0].get_submodule(layer)])
            g = torch.stack([label_grads(logits, maps, torch.full((2,1), j))[0][0] for j in labels])
            parts.append(torch.einsum('knc,nchw->nkhw', g.mean((3,4)), maps[0].detach()))
        want = scaled(parts[0] + parts[1].flip(-1))
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0, equal_nan=True)

@pytest.mark.parametrize('threshold,says', [(.5, '0.23 < 0.50: not predicted'), (float('inf'), '0.23: never predicted')])
def test_threshold_beside_a_probability(threshold, says):
    ax = new_figure(2, 2).subplots()
    _show_prob(ax, 'Sad', .23, threshold, '', False)
    assert says in [t.get_text() for t in ax.texts] and len(ax.collections)==np.isfinite(threshold)
