//! Certificates of a CA of the test's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Good,
    Expired,
}

/// The folder has `ca.pem`; each certificate is in a folder of its own, as `DOCKER_CERT_PATH` names one.
pub struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = named("a CA of a test", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            ca: CertifiedIssuer::self_signed(params, key()).expect("a CA"),
            folder: tempfile::tempdir().expect("a folder for certificates"),
        }
    }

    /// `ca.pem`, `cert.pem` and `key.pem` of a server on loopback.
    pub fn server(&self, validity: Validity) -> PathBuf {
        let params = named("a server", &["127.0.0.1", "localhost"]);
        self.certificate("server", params, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    pub fn client(&self, validity: Validity) -> PathBuf {
        let params = named("an agent", &[]);
        self.certificate("client", params, ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    /// `ca.pem` alone.
    pub fn nobody(&self) -> PathBuf {
        self.folder_of("nobody")
    }

    fn certificate(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> PathBuf {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        if validity == Validity::Expired {
            params.not_after = date_time_ymd(2001, 2, 3);
        }
        let key = key();
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        let folder = self.folder_of(name);
        write(&folder, "cert.pem", &certificate.pem());
        write(&folder, "key.pem", &key.serialize_pem());
        folder
    }

    fn folder_of(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        write(&folder, "ca.pem", &self.ca.pem());
        folder
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("write a certificate");
}
