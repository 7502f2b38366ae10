//! From our field names to the public checkpoint's key names.

/// The public DiT key of a parameter path of ours: `t_embedder.mlp_0.weight` → `t_embedder.mlp.0.weight`.
pub fn public_key(path: &str) -> String {
    path.replace("mlp_0.", "mlp.0.")
        .replace("mlp_2.", "mlp.2.")
        .replace("adaln_modulation_1.", "adaLN_modulation.1.")
}
