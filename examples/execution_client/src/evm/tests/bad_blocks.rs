//! Good blocks with one thing changed: the error names that thing.

use alloy_consensus::proofs::{calculate_transaction_root, calculate_withdrawals_root};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{BlockBody, SignableTransaction, TxEip4844, TxLegacy};
use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_primitives::{Signature, uint};

use super::*;
use crate::evm::Transaction;
use crate::genesis::GenesisError;

type Body = BlockBody<Transaction>;

/// The order of secp256k1.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

fn body(block: &RawBlock) -> Body {
    Body::decode(&mut &block.body[..]).unwrap()
}

fn raw(header: &Header, body: &Body) -> RawBlock {
    RawBlock::from_parts(&alloy_rlp::encode(header), &alloy_rlp::encode(body)).unwrap().0
}

fn with_header(block: &RawBlock, change: impl FnOnce(&mut Header)) -> RawBlock {
    let mut header = header(block);
    change(&mut header);
    raw(&header, &body(block))
}

/// Changes the body, and the header's roots with it: the work of someone who makes blocks.
fn with_body(block: &RawBlock, change: impl FnOnce(&mut Body)) -> RawBlock {
    let (mut header, mut body) = (header(block), body(block));
    change(&mut body);
    header.transactions_root = calculate_transaction_root(&body.transactions);
    header.withdrawals_root = body.withdrawals.as_ref().map(|list| calculate_withdrawals_root(list));
    raw(&header, &body)
}

fn other(hash: &mut B256) {
    hash.0[7] ^= 1;
}

/// Stops at blocks with transactions, one in each of the three forks of the chain, and at the first
/// with blobs.
fn at_each_fork(mut check: impl FnMut(&Follower, &RawBlock)) {
    let Some((chain, blocks)) = geth_ethtest() else { return };
    let mut follower = Follower::new(&chain);
    let mut stops = 0;
    let mut seen = [false; 4];
    for pair in blocks.windows(2).take(40) {
        follower.follow(&pair[0], false);
        let next = header(&pair[1]);
        let fork = match (next.requests_hash, next.blob_gas_used) {
            (Some(_), Some(1..)) => 3,
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        // Not where a fork begins: there a timestamp as the parent's has another fork's fields.
        let is_first = follower.parent.requests_hash.is_some() != next.requests_hash.is_some()
            || follower.parent.blob_gas_used.is_some() != next.blob_gas_used.is_some();
        if next.gas_used > 0 && !is_first && !seen[fork] {
            seen[fork] = true;
            stops += 1;
            check(&follower, &pair[1]);
        }
    }
    assert!(stops >= 3 && seen[..3] == [true; 3], "{seen:?}");
}

#[test]
fn a_changed_header_field_is_named() {
    at_each_fork(|follower, block| {
        let parent = follower.parent.clone();
        let refused = |expected: &str, change: &dyn Fn(&mut Header)| {
            let error = follower.refuses(&with_header(block, change));
            assert_eq!(error.what(), expected, "block {}: {error}", block.number);
        };
        refused("number", &|h| h.number += 1);
        refused("parent-hash", &|h| other(&mut h.parent_hash));
        refused("timestamp", &|h| h.timestamp = parent.timestamp);
        refused("gas-limit", &|h| h.gas_limit = parent.gas_limit + parent.gas_limit / 1024);
        refused("gas-limit", &|h| h.gas_limit = parent.gas_limit - parent.gas_limit / 1024);
        refused("gas-limit", &|h| h.gas_limit = 4999);
        refused("base-fee", &|h| h.base_fee_per_gas = h.base_fee_per_gas.map(|fee| fee + 1));
        refused("extra-data", &|h| h.extra_data = vec![0; 33].into());
        refused("difficulty", &|h| h.difficulty = U256::from(1));
        refused("nonce", &|h| h.nonce = 1u64.into());
        refused("ommers", &|h| other(&mut h.ommers_hash));
        refused("transactions-root", &|h| other(&mut h.transactions_root));
        refused("withdrawals-root", &|h| h.withdrawals_root.iter_mut().for_each(other));
        refused("gas-used", &|h| h.gas_used += 1);
        refused("receipts-root", &|h| other(&mut h.receipts_root));
        refused("logs-bloom", &|h| h.logs_bloom.0[9] ^= 1);
        let header = header(block);
        if let (Some(used), Some(excess)) = (header.blob_gas_used, header.excess_blob_gas) {
            refused("blob-gas-used", &|h| h.blob_gas_used = Some(used + 1));
            refused("blob-gas-used", &|h| h.blob_gas_used = Some(used + DATA_GAS_PER_BLOB));
            refused("blob-gas-used", &|h| h.blob_gas_used = Some(10 * DATA_GAS_PER_BLOB));
            refused("excess-blob-gas", &|h| h.excess_blob_gas = Some(excess + 1));
        } else {
            refused("blob-gas-used", &|h| {
                (h.blob_gas_used, h.excess_blob_gas) = (Some(0), Some(0));
                h.parent_beacon_block_root = Some(B256::ZERO);
            });
        }
        match header.requests_hash {
            Some(hash) => {
                refused("requests-hash", &|h| h.requests_hash = None);
                refused("requests-hash", &|h| {
                    h.requests_hash = Some(hash);
                    h.requests_hash.iter_mut().for_each(other);
                });
                refused("block-access-list-hash", &|h| h.block_access_list_hash = Some(B256::ZERO));
            }
            None if header.blob_gas_used.is_some() => {
                refused("requests-hash", &|h| h.requests_hash = Some(B256::ZERO));
                refused("blob-gas-used", &|h| {
                    (h.blob_gas_used, h.excess_blob_gas, h.parent_beacon_block_root) = (None, None, None);
                });
            }
            None => refused("withdrawals-root", &|h| h.withdrawals_root = None),
        }
    });
}

#[test]
fn what_only_the_state_root_tells_passes_with_another_state() {
    at_each_fork(|follower, block| {
        let root_with = |bad: &RawBlock| {
            let mut state = follower.state.clone();
            state.apply(&follower.try_block(bad).unwrap().diff);
            state.root()
        };
        let expected = header(block).state_root;
        assert_eq!(root_with(block), expected);
        assert_ne!(root_with(&with_header(block, |h| other_address(&mut h.beneficiary))), expected);
        if header(block).parent_beacon_block_root.is_some() {
            let change = |h: &mut Header| h.parent_beacon_block_root.iter_mut().for_each(other);
            assert_ne!(root_with(&with_header(block, change)), expected);
        }
        let bad = with_body(block, |body| {
            let mut list = body.withdrawals.take().unwrap_or_default().0;
            list.push(alloy_eips::eip4895::Withdrawal { amount: 1, ..Default::default() });
            body.withdrawals = Some(list.into());
        });
        assert_ne!(root_with(&bad), expected);
    });
}

fn other_address(address: &mut Address) {
    address.0[3] ^= 1;
}

#[test]
fn a_changed_body_is_named() {
    at_each_fork(|follower, block| {
        let refused = |expected: &[&str], bad: &RawBlock| {
            let error = follower.refuses(bad);
            assert!(expected.contains(&error.what()), "block {}: {error}", block.number);
        };
        let good = header(block);
        let mut short = body(block);
        short.transactions.pop();
        refused(&["transactions-root"], &raw(&good, &short));
        refused(&["gas-used", "transaction"], &with_body(block, |body| drop(body.transactions.pop())));
        refused(
            &["transaction"],
            &with_body(block, |body| {
                body.transactions.push(body.transactions[0].clone());
            }),
        );
        let mut ommer = body(block);
        ommer.ommers.push(Header::default());
        refused(&["ommers"], &raw(&good, &ommer));
        let mut unpaid = body(block);
        unpaid.withdrawals = None;
        refused(&["withdrawals-root"], &raw(&good, &unpaid));
        let junk = RawBlock { body: Bytes::from_static(&[0xc3, 0xc1, 0x05, 0xc0]), ..block.clone() };
        refused(&["body"], &junk);
        let junk = RawBlock { header: block.header.slice(..40), ..block.clone() };
        refused(&["header"], &junk);
    });
}

#[test]
fn a_bad_signature_names_the_transaction() {
    at_each_fork(|follower, block| {
        let transaction = |nonce: u64, signature: Signature| {
            let chain_id = Some(follower.executor.forks.chain_id);
            let unsigned = TxLegacy {
                chain_id,
                nonce,
                gas_price: 1 << 40,
                gas_limit: 60_000,
                // Long enough for a transaction even without r.
                input: vec![0; 64].into(),
                ..Default::default()
            };
            Transaction::from(unsigned.into_signed(signature))
        };
        let put = |bad: Transaction| with_body(block, |body| body.transactions[0] = bad);
        let good = Signature::test_signature();
        // A signature that is right for somebody, who has no ether.
        let stranger = transaction(0, good);
        assert!(stranger.recover_signer().is_ok());
        let error = follower.refuses(&put(stranger.clone()));
        assert_eq!(error.what(), "transaction", "{error}");
        assert!(error.to_string().contains(&stranger.tx_hash().to_string()), "{error}");
        // The same, with the other of the two possible values of s (EIP-2), and r and s out of range.
        for bad in [
            Signature::new(good.r(), ORDER - good.s(), !good.v()),
            Signature::new(U256::ZERO, good.s(), false),
            Signature::new(ORDER, good.s(), false),
        ] {
            let error = follower.refuses(&put(transaction(0, bad)));
            assert_eq!(error.what(), "sender", "{bad:?}: {error}");
        }
    });
}

#[test]
fn a_transaction_of_a_later_fork_or_of_another_chain_is_refused() {
    at_each_fork(|follower, block| {
        let blobless = TxEip4844 { chain_id: 1, gas_limit: 100_000, ..Default::default() };
        let bad = Transaction::from(blobless.into_signed(Signature::test_signature()));
        let error = follower.refuses(&with_body(block, |body| body.transactions[0] = bad));
        assert_eq!(error.what(), "transaction", "{error}");
        let elsewhere =
            TxLegacy { chain_id: Some(5), gas_limit: 21_000, gas_price: 1 << 40, ..Default::default() };
        let bad = Transaction::from(elsewhere.into_signed(Signature::test_signature()));
        let error = follower.refuses(&with_body(block, |body| body.transactions[0] = bad));
        assert!(error.to_string().contains("chain"), "{error}");
    });
}

#[test]
fn a_state_that_cannot_be_read_is_not_the_blocks_fault() {
    at_each_fork(|follower, block| {
        let prepared = follower.executor.prepare(block.clone()).unwrap();
        // Read by a transaction, by the reward of the coinbase, and by a system call.
        for broken in [prepared.transactions[0].signer(), prepared.header.beneficiary] {
            let state = Model { broken: Some(broken), ..follower.state.clone() };
            match follower.executor.execute(&prepared, &follower.parent, &state) {
                Err(ExecuteError::State(StateError::Store(why))) => assert_eq!(why, "the disk is gone"),
                other => panic!("{other:?}"),
            }
        }
        let withdrawals = prepared.withdrawals.iter().flatten().map(|withdrawal| withdrawal.address);
        let histories = [alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS].into_iter();
        for broken in withdrawals.chain(histories.filter(|_| prepared.header.requests_hash.is_some())) {
            let state = Model { broken: Some(broken), ..follower.state.clone() };
            let failed = follower.executor.execute(&prepared, &follower.parent, &state);
            assert!(matches!(failed, Err(ExecuteError::State(_))), "{failed:?}");
        }
    });
}

#[test]
fn blocks_can_be_prepared_on_any_thread() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Executor>();
    is_shared::<crate::evm::Prepared>();
    is_shared::<Output>();
}

#[test]
fn a_chain_that_cannot_be_executed_is_refused_in_one_line() {
    const FORKS: &str = r#""homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,"byzantiumBlock":0,
        "constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,"londonBlock":0"#;
    let chain = |config: &str, rest: &str| {
        let json = format!(
            r#"{{"config":{{"chainId":7,{config}}},"gasLimit":"0x1c9c380","difficulty":"0x0","alloc":{{}}{rest}}}"#
        );
        Executor::new(&Chain::parse(json.as_bytes()).unwrap())
    };
    let osaka = r#","shanghaiTime":0,"cancunTime":0,"pragueTime":0,"osakaTime":5"#;
    assert!(chain(FORKS, "").is_ok());
    assert!(chain(&format!("{FORKS}{osaka}"), "").is_ok());
    let bpo = r#","bpo1Time":9,"blobSchedule":{"bpo1":{"target":9,"max":12,"baseFeeUpdateFraction":7}}"#;
    assert!(chain(&format!("{FORKS}{osaka}{bpo}"), "").is_ok());
    let more = |more: &str| format!("{FORKS}{osaka}{more}");
    for (config, rest, word) in [
        (FORKS.replace(r#""byzantiumBlock":0,"#, ""), "", "byzantiumBlock"),
        (FORKS.replace(r#""londonBlock":0"#, r#""londonBlock":4"#), "", "londonBlock"),
        (more(r#","amsterdamTime":9"#), "", "amsterdamTime"),
        (more(r#","verkleTime":9"#), "", "verkleTime"),
        (more(r#","bpo1Time":9"#), "", "bpo1"),
        (more(&bpo.replace("9,\"blob", "3,\"blob")), "", "bpo1Time is before osaka"),
        (more(&bpo.replace("\"max\":12", "\"max\":8")), "", "blobSchedule"),
        (more(&bpo.replace(":7", ":0")), "", "blobSchedule"),
        (more(""), r#","difficulty":"0x5""#, "proof of work"),
        (more(""), r#","gasLimit":"0x5""#, "gas limit"),
        (more(""), r#","alloc":{"00000000000000000000000000000000000000aa":{"balance":"0x0"}}"#, "EIP-161"),
    ] {
        let json = format!(r#"{{"config":{{"chainId":7,{config}}}{rest}}}"#);
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (key, default) in [("gasLimit", "0x1c9c380"), ("difficulty", "0x0")] {
            value.as_object_mut().unwrap().entry(key).or_insert(default.into());
        }
        value.as_object_mut().unwrap().entry("alloc").or_insert(serde_json::json!({}));
        let parsed = Chain::parse(value.to_string().as_bytes()).unwrap();
        let error = Executor::new(&parsed).map(drop).unwrap_err();
        assert!(matches!(error, GenesisError::Unsupported(_)));
        let error = error.to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{word}: {error}");
    }
}
