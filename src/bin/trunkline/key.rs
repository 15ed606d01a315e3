//! `trunkline key`: makes and shows identities.

use std::path::{Path, PathBuf};

use serde_json::json;
use trunkline::Keypair;

use crate::failure::Failure;
use trunkline::keyfile;

/// Makes or shows an identity.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, clap::Subcommand)]
enum KeyAction {
    /// Makes a new identity. An existing file is never overwritten.
    ///
    /// The file holds 64 hex digits and a newline (geth's nodekey form), `ed25519:` before them for
    /// that type, and is readable by its owner only.
    New {
        /// The file to create.
        file: PathBuf,
        /// The type of the key. Only secp256k1 works on both wires.
        #[arg(long = "type", value_name = "TYPE", default_value = "secp256k1")]
        key_type: KeyType,
    },
    /// Shows an identity: its peer id, and for secp256k1 the enode form.
    ///
    /// A key has no address, so the enode ends after its 128 hex digits, as geth accepts it;
    /// append `@IP:PORT` to tell others where the node is.
    Show {
        /// The key file.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum KeyType {
    Secp256k1,
    Ed25519,
}

/// Does what was asked.
pub(crate) fn run(args: &KeyArgs, json: bool) -> Result<(), Failure> {
    let unusable = |file: &Path, error| Failure::unusable(format!("{}: {error}", file.display()));
    let keypair = match &args.action {
        KeyAction::New { file, key_type } => {
            let keypair = match key_type {
                KeyType::Secp256k1 => Keypair::generate_secp256k1(),
                KeyType::Ed25519 => Keypair::generate_ed25519(),
            };
            keyfile::create(file, &keypair).map_err(|error| unusable(file, error))?;
            keypair
        }
        KeyAction::Show { file } => keyfile::read(file).map_err(|error| unusable(file, error))?,
    };
    print(&keypair, json).map_err(Failure::failed)
}

fn print(keypair: &Keypair, json: bool) -> std::io::Result<()> {
    let public = keypair.public();
    let peer = public.to_peer_id();
    let enode = keyfile::enode(&public);
    let key_type = if enode.is_some() { "secp256k1" } else { "ed25519" };
    let mut text = format!("peer   {peer}\ntype   {key_type}\n");
    if let Some(enode) = &enode {
        text.push_str(&format!("enode  {enode}\n"));
    }
    if json {
        text = json!({"peer": peer.to_string(), "type": key_type, "enode": enode}).to_string() + "\n";
    }
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())
}
