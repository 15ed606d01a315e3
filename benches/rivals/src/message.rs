//! What every contender carries: a request of 64 bytes, an answer of 600, and a tag in both.

/// The length of a request, in bytes.
pub const REQUEST_BYTES: usize = 64;
/// The length of an answer, in bytes.
pub const ANSWER_BYTES: usize = 600;

/// A request with this tag.
pub fn request(tag: u64) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0x51; REQUEST_BYTES];
    bytes[..8].copy_from_slice(&tag.to_be_bytes());
    bytes
}

/// The answer to a request, which must be whole.
pub fn answer(request: &[u8]) -> Result<[u8; ANSWER_BYTES], String> {
    if request.len() != REQUEST_BYTES {
        return Err(format!("a request of {} bytes", request.len()));
    }
    let mut bytes = [0x41; ANSWER_BYTES];
    bytes[..8].copy_from_slice(&request[..8]);
    Ok(bytes)
}

/// Fails unless this is the answer to the request with that tag.
pub fn check(answer: &[u8], tag: u64) -> Result<(), String> {
    if answer.len() != ANSWER_BYTES {
        return Err(format!("an answer of {} bytes", answer.len()));
    }
    if answer[..8] != tag.to_be_bytes() || answer[ANSWER_BYTES - 1] != 0x41 {
        return Err(format!("another answer than the one to request {tag}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_same_request_is_accepted() {
        let right = answer(&request(7)).unwrap();
        assert_eq!(check(&right, 7), Ok(()));
        assert!(check(&right, 8).is_err());
        assert!(check(&right[..599], 7).is_err());
        assert!(answer(&[0; 63]).is_err());
    }
}
