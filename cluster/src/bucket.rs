//! What the streams behind the object store and the key-value store have to be.

use async_nats::jetstream::stream::{Config, StorageType};

use crate::{settings::Replicas, trouble::Foreign};

/// Compares the configuration of the stream of a bucket with what is needed. Names what is wrong first.
pub(crate) fn verify(config: &Config, replicas: Replicas) -> Result<(), Foreign> {
    let foreign =
        |field, is: String, wanted: String| Err(Foreign { stream: config.name.clone(), field, is, wanted });
    if config.storage != StorageType::File {
        return foreign("its storage", format!("{:?}", config.storage), "File".to_owned());
    }
    if config.num_replicas < replicas.get() {
        let is = config.num_replicas.to_string();
        return foreign("the number of its replicas", is, format!("{replicas} or more"));
    }
    if !config.max_age.is_zero() {
        let is = format!("{} s", config.max_age.as_secs());
        return foreign("the age that messages may reach", is, "unlimited".to_owned());
    }
    if config.sealed {
        return foreign("its seal", "set".to_owned(), "unset".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_bucket_is_named() {
        let good = || Config { name: "KV_qchat_keys".to_owned(), num_replicas: 3, ..Config::default() };
        let said = |config: &Config| verify(config, Replicas::THREE).unwrap_err().to_string();
        assert_eq!(verify(&good(), Replicas::THREE), Ok(()));
        let prefix = "the stream KV_qchat_keys is not as Qchat made it:";
        let config = Config { storage: StorageType::Memory, ..good() };
        assert_eq!(said(&config), format!("{prefix} its storage is Memory, and has to be File"));
        let config = Config { num_replicas: 1, ..good() };
        assert_eq!(
            said(&config),
            format!("{prefix} the number of its replicas is 1, and has to be 3 or more")
        );
        let config = Config { max_age: Duration::from_secs(9), ..good() };
        assert_eq!(
            said(&config),
            format!("{prefix} the age that messages may reach is 9 s, and has to be unlimited")
        );
        let config = Config { sealed: true, ..good() };
        assert_eq!(said(&config), format!("{prefix} its seal is set, and has to be unset"));
    }
}
