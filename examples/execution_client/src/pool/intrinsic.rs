//! The gas that a transaction uses before it runs.

use alloy_consensus::{Transaction, TxEnvelope};

use super::rules::Rules;

const GAS_TRANSACTION: u64 = 21_000;
/// EIP-2, from Homestead.
const GAS_CREATE: u64 = 32_000;
const GAS_ZERO_BYTE: u64 = 4;
const GAS_BYTE_FRONTIER: u64 = 68;
/// EIP-2028, from Istanbul.
const GAS_BYTE_ISTANBUL: u64 = 16;
/// EIP-3860, from Shanghai.
const GAS_INIT_CODE_WORD: u64 = 2;
/// EIP-2930.
const GAS_ADDRESS: u64 = 2_400;
const GAS_STORAGE_KEY: u64 = 1_900;
/// EIP-7702: what an authorization of a new account costs.
const GAS_AUTHORIZATION: u64 = 25_000;
/// EIP-7623: the floor for each token; a byte is four tokens, a zero one.
const GAS_TOKEN_FLOOR: u64 = 10;

/// What it uses before it runs, and the least that its data cost from Prague on (0 before).
pub(super) fn gas(transaction: &TxEnvelope, rules: &Rules) -> (u64, u64) {
    let input = transaction.input();
    let len = input.len() as u64;
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let others = len - zeros;
    let byte = if rules.istanbul { GAS_BYTE_ISTANBUL } else { GAS_BYTE_FRONTIER };
    let mut gas = GAS_TRANSACTION + zeros * GAS_ZERO_BYTE + others * byte;
    if transaction.is_create() {
        gas += if rules.homestead { GAS_CREATE } else { 0 };
        gas += if rules.shanghai { len.div_ceil(32) * GAS_INIT_CODE_WORD } else { 0 };
    }
    if let Some(list) = transaction.access_list() {
        gas += list.len() as u64 * GAS_ADDRESS + list.storage_keys_count() as u64 * GAS_STORAGE_KEY;
    }
    gas += transaction.authorization_list().map_or(0, |list| list.len() as u64) * GAS_AUTHORIZATION;
    let floor = GAS_TRANSACTION + (zeros + others * 4) * GAS_TOKEN_FLOOR;
    (gas, if rules.prague { floor } else { 0 })
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{Signed, TxEip2930, TxEip7702, TxLegacy};
    use alloy_eips::eip2930::{AccessList, AccessListItem};
    use alloy_eips::eip7702::{Authorization, SignedAuthorization};
    use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
    use revm::context_interface::cfg::gas::calculate_initial_tx_gas;
    use revm::primitives::hardfork::SpecId;

    use super::super::rules::Head;
    use super::*;

    fn rules(spec: SpecId) -> Rules {
        let head = Head { number: 0, time: 0, base_fee: 0, blob_base_fee: 0, gas_limit: 0 };
        let at = |fork| spec.is_enabled_in(fork);
        Rules {
            homestead: at(SpecId::HOMESTEAD),
            istanbul: at(SpecId::ISTANBUL),
            shanghai: at(SpecId::SHANGHAI),
            prague: at(SpecId::PRAGUE),
            ..Rules::after(&Default::default(), &head)
        }
    }

    fn signed<T>(transaction: T) -> TxEnvelope
    where
        TxEnvelope: From<Signed<T>>,
    {
        Signed::new_unchecked(transaction, Signature::test_signature(), B256::ZERO).into()
    }

    #[test]
    fn it_is_what_the_evm_asks_for_in_every_fork() {
        let inputs = [vec![], vec![0; 33], vec![1; 32], [vec![0; 100], vec![7; 1_001]].concat()];
        let item = |keys| AccessListItem { address: Address::ZERO, storage_keys: vec![B256::ZERO; keys] };
        let lists = [vec![], vec![item(0)], vec![item(3), item(1)]];
        let one = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 0 };
        let one = SignedAuthorization::new_unchecked(one, 0, U256::ZERO, U256::ZERO);
        let forks = [
            SpecId::FRONTIER,
            SpecId::HOMESTEAD,
            SpecId::BYZANTIUM,
            SpecId::ISTANBUL,
            SpecId::BERLIN,
            SpecId::LONDON,
            SpecId::SHANGHAI,
            SpecId::CANCUN,
            SpecId::PRAGUE,
            SpecId::OSAKA,
        ];
        for spec in forks {
            for input in inputs.iter().map(|input| Bytes::from(input.clone())) {
                let expected = |create, (accounts, keys), authorizations| {
                    let gas =
                        calculate_initial_tx_gas(spec, &input, create, accounts, keys, authorizations, None);
                    (gas.initial_total_gas(), gas.floor_gas())
                };
                for to in [TxKind::Create, TxKind::Call(Address::ZERO)] {
                    let legacy = signed(TxLegacy { to, input: input.clone(), ..TxLegacy::default() });
                    assert_eq!(gas(&legacy, &rules(spec)), expected(to.is_create(), (0, 0), 0), "{spec:?}");
                    for list in lists.iter().filter(|_| spec.is_enabled_in(SpecId::BERLIN)) {
                        let access_list = AccessList(list.clone());
                        let counts = (list.len() as u64, access_list.storage_keys_count() as u64);
                        let tx = TxEip2930 { to, access_list, input: input.clone(), ..TxEip2930::default() };
                        assert_eq!(
                            gas(&signed(tx), &rules(spec)),
                            expected(to.is_create(), counts, 0),
                            "{spec:?}"
                        );
                    }
                }
                for count in (1..4).filter(|_| spec.is_enabled_in(SpecId::PRAGUE)) {
                    let authorization_list = vec![one.clone(); count];
                    let tx = TxEip7702 { authorization_list, input: input.clone(), ..TxEip7702::default() };
                    assert_eq!(
                        gas(&signed(tx), &rules(spec)),
                        expected(false, (0, 0), count as u64),
                        "{spec:?}"
                    );
                }
            }
        }
    }
}
