//! Signed transfers between the funded accounts of the development chain, as a file of transactions.

use std::fmt::Write;
use std::io;
use std::path::Path;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Signature, TxKind, U256, hex};
use trunkline::chain::ChainSpec;
use trunkline::chain::dev_keys::{DEV_KEYS, dev_addresses, dev_signature};

const GAS: u64 = 21_000;
/// In wei: above the base fee of the first blocks, which falls as long as blocks are not half full.
const PRICE: u128 = 20_000_000_000;
const TIP: u128 = 1_000_000_000;

/// Writes `count` of them, each sender's in the order of its nonces. Their hashes.
pub(crate) fn write(path: &Path, count: u32) -> io::Result<Vec<B256>> {
    let chain_id = ChainSpec::dev().chain_id();
    let addresses = dev_addresses();
    let (mut text, mut hashes) = (String::new(), Vec::new());
    for index in 0..u64::from(count) {
        let (nonce, from) = (index / DEV_KEYS as u64, index as usize % DEV_KEYS);
        let Some(signed) = transfer(chain_id, from, nonce, addresses[(from + 1) % DEV_KEYS]) else {
            continue;
        };
        hashes.push(*signed.tx_hash());
        // Into a string: it cannot fail.
        let _ = writeln!(text, "{}", hex::encode_prefixed(signed.encoded_2718()));
    }
    std::fs::write(path, text)?;
    Ok(hashes)
}

fn transfer(chain_id: u64, from: usize, nonce: u64, to: Address) -> Option<TxEnvelope> {
    let (to, value) = (TxKind::Call(to), U256::from(1_000_000_000 + nonce));
    let sign = |hash: B256| -> Option<Signature> { dev_signature(from, &hash) };
    Some(match from % 3 {
        0 => {
            let of = TxEip1559 {
                chain_id,
                nonce,
                gas_limit: GAS,
                max_fee_per_gas: PRICE,
                max_priority_fee_per_gas: TIP,
                to,
                value,
                ..TxEip1559::default()
            };
            let signature = sign(of.signature_hash())?;
            of.into_signed(signature).into()
        }
        1 => {
            let of = TxEip2930 {
                chain_id,
                nonce,
                gas_price: PRICE,
                gas_limit: GAS,
                to,
                value,
                ..TxEip2930::default()
            };
            let signature = sign(of.signature_hash())?;
            of.into_signed(signature).into()
        }
        _ => {
            let chain_id = Some(chain_id);
            let of = TxLegacy {
                chain_id,
                nonce,
                gas_price: PRICE,
                gas_limit: GAS,
                to,
                value,
                ..TxLegacy::default()
            };
            let signature = sign(of.signature_hash())?;
            of.into_signed(signature).into()
        }
    })
}
