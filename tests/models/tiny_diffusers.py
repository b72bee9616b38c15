"""Whole diffusers pipelines with tiny random weights, saved as their authors' folders are: oracles of the parity tests.

Needs the `parity` extra (torch, diffusers, transformers).
"""

import numpy as np
import torch
import transformers
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)

Z, WIDTH = 4, 12
NETWORK = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": Z,
    "out_channels": Z,
    "text_dim": WIDTH,
    "freq_dim": 16,
    "ffn_dim": 40,
    "num_layers": 2,
}
VAE = {
    "base_dim": 4,
    "z_dim": Z,
    "dim_mult": [1, 1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    "latents_mean": [0.3, -0.2, 0.1, 0.05],
    "latents_std": [1.7, 0.6, 1.1, 0.9],
}
VAE_22 = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "decoder_base_dim": 2}
VAE_22 |= {"scale_factor_spatial": 16}
CLIP = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3}
CLIP |= {"image_size": 28, "patch_size": 14, "hidden_act": "gelu"}
IMAGE = {"in_channels": 2 * Z + 4}
WITH_CLIP = IMAGE | {"image_dim": 24, "added_kv_proj_dim": 24}

CASES = {  # network, VAE, options of the pipeline, experts
    "t2v": ({}, {}, {}, 1),
    "t2v_pair": ({}, {}, {"boundary_ratio": 0.875}, 2),
    "i2v": (WITH_CLIP, {}, {}, 1),
    "flf2v": (WITH_CLIP | {"pos_embed_seq_len": 10}, {}, {}, 1),
    "i2v_pair": (IMAGE, {}, {"boundary_ratio": 0.9}, 2),
    "ti2v": ({}, VAE_22, {"expand_timesteps": True}, 1),
}


def _moved(model, scale: float = 0.3, small: float = 0.03):
    """Norms moved from one and biases from zero; matrices a little."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * (scale if p.ndim < 2 else small))
    return model.eval()


def network(case: str):
    """A transformer whose velocities are of order one."""
    model = _moved(WanTransformer3DModel(**NETWORK | CASES[case][0]))
    with torch.no_grad():
        model.proj_out.weight.mul_(1.5)
    return model


def tokenizer():
    """A small tokenizer of UMT5's kind."""
    import tokenizers

    words = ["▁a", "▁maze", "▁seen", "▁from", "▁above", "▁", ",", "m", "z", "▁blurred"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((word, -float(i + 1)) for i, word in enumerate(words))]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocab, unk_id=2))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def build(case: str, folder, *, scheduler: str = "unipc", shift: float = 5.0, image: bool | None = None, seed: int = 0):
    """A pipeline with random weights, saved to `folder`; the one that takes a picture where the model does."""
    torch.manual_seed(seed)
    _, vae, options, experts = CASES[case]
    text = transformers.UMT5Config(vocab_size=13, d_model=WIDTH, d_kv=5, num_heads=3, d_ff=20, num_layers=2)
    encoder = transformers.UMT5EncoderModel(text).eval()
    with torch.no_grad():
        for p in encoder.parameters():
            p.copy_(p * 0 + 1 + 0.3 * torch.randn_like(p) if p.ndim < 2 else 0.4 * torch.randn_like(p))
    decoder = _moved(AutoencoderKLWan(**VAE | vae), 0.1)
    parts = {
        "tokenizer": tokenizer(),
        "text_encoder": encoder,
        "vae": decoder,
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
        )
        if scheduler == "unipc"
        else FlowMatchEulerDiscreteScheduler(shift=shift),
        "transformer": network(case),
        "transformer_2": network(case) if experts == 2 else None,
        **options,
    }
    takes_image = case != "t2v" and case != "t2v_pair" if image is None else image
    if takes_image and "image_dim" in CASES[case][0]:
        parts["image_encoder"] = _moved(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**CLIP)))
        size = {"shortest_edge": CLIP["image_size"]}
        parts["image_processor"] = transformers.CLIPImageProcessorPil(
            size=size, crop_size={"height": CLIP["image_size"], "width": CLIP["image_size"]}
        )
    pipe = (WanImageToVideoPipeline if takes_image else WanPipeline)(**parts)
    pipe.save_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe, noise: np.ndarray, size: tuple[int, int], frames: int, **options) -> tuple[np.ndarray, np.ndarray]:
    """Final latents (t, h, w, z) and pixels (t, h, w, 3) in [0, 1] from the given noise (t, h, w, z)."""
    latents = torch.as_tensor(noise).permute(3, 0, 1, 2)[None]
    options |= {"latents": latents, "height": size[0], "width": size[1], "num_frames": frames}
    last = {}

    def keep(pipe, step, time, tensors):
        last["latents"] = tensors["latents"]
        return {}

    pixels = pipe(**options, output_type="np", callback_on_step_end=keep).frames[0]
    return last["latents"][0].permute(1, 2, 3, 0).numpy(), pixels
