//! What is forbidden, and why.

/// Code in `within` (a folder or a file without its `.rs`) names none of the `forbidden` paths.
pub struct SourceRule {
    pub within: &'static str,
    pub forbidden: &'static [&'static str],
    pub because: &'static str,
}

pub const SOURCE_RULES: &[SourceRule] = &[
    SourceRule {
        within: "crates/dmp-model/src/dit",
        forbidden: &["crate::patch", "crate::patched", "crate::lora"],
        because: "a backbone knows nothing of patches; it exposes a hook and `patched` joins the two",
    },
    SourceRule {
        within: "crates/dmp-model/src/lora",
        forbidden: &["crate::patch", "crate::patched"],
        because: "a LoRA changes weights; prompts and gates are another way to the same end",
    },
    SourceRule {
        within: "crates/dmp-model/src/patch",
        forbidden: &["crate::dit"],
        because: "a patch knows no backbone; `patched` joins the two",
    },
    SourceRule {
        within: "crates/dmp-model/src/sampler",
        forbidden: &[
            "crate::dit",
            "crate::patch",
            "crate::patched",
            "crate::lora",
        ],
        because: "a sampler is a function over a denoiser and knows no architecture",
    },
];

/// Commands live here, one a file or folder; none names another. What two share lives outside.
pub const COMMANDS: &str = "crates/dmp/src/command";

/// `package` depends on nothing in `forbidden`, not even for its tests; a trailing `*` stands for
/// any ending.
pub struct DependencyRule {
    pub package: &'static str,
    pub forbidden: &'static [&'static str],
    pub because: &'static str,
}

pub const DEPENDENCY_RULES: &[DependencyRule] = &[
    DependencyRule {
        package: "dmp-math",
        forbidden: &["burn*", "dmp*", "xtask"],
        because: "arithmetic knows no tensors and nothing above it",
    },
    DependencyRule {
        package: "dmp-kernels",
        forbidden: &["burn*", "dmp*", "xtask"],
        because: "kernels work on plain slices and know nothing above them",
    },
    DependencyRule {
        package: "dmp-model",
        forbidden: &[
            "dmp",
            "xtask",
            "clap*",
            "indicatif",
            "reqwest*",
            "ureq*",
            "hyper*",
            "axum*",
            "actix*",
            "warp",
            "rocket",
            "tiny_http",
            "rouille",
            "tower*",
            "isahc",
            "attohttpc",
            "minreq",
            "curl*",
            "tokio*",
            "hf-hub",
        ],
        because: "model code knows no command line, no network and no run directory",
    },
];

/// No source is longer: a file a reader can hold in the head.
pub const MOST_LINES: usize = 600;

/// Macros that stop long work where standard error takes no more; `tell!` does not.
pub const TELLING: &[&str] = &["eprint", "eprintln"];

/// Macros that stand for work left undone.
pub const UNFINISHED: &[&str] = &["todo", "unimplemented"];

/// Files that may hold them, each with the reason. Empty, and better so.
pub const MAY_BE_UNFINISHED: &[(&str, &str)] = &[];
