//! What the docker client's own variables say, where the configuration says nothing.

use std::path::PathBuf;

use super::address::{Address, Scheme};
use super::docker::{DEFAULT_HOST, Docker, TlsMode};
use super::overrides::Override;

/// Decides everything that was left open; gives the variables that had a say in it.
///
/// The configuration goes before the variables. But that TLS is asked for by any of them is enough for `tcp://`: nobody
/// shall read the logs in clear because two places disagree.
pub(super) fn complete(docker: &mut Docker, variable: impl Fn(&str) -> Option<String>) -> Vec<Override> {
    // Empty is as good as not there, as for the docker client.
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let mut said = Vec::new();
    let mut note = |key: &str, name: &str, value: &str| {
        said.push(Override {
            key: key.to_owned(),
            value: value.to_owned(),
            said_as: format!("{name}={value}"),
        });
    };
    if docker.host.is_empty() {
        docker.host = match variable("DOCKER_HOST") {
            Some(host) => {
                note("docker.host", "DOCKER_HOST", &host);
                host
            }
            None => DEFAULT_HOST.to_owned(),
        };
    }
    let tls = &mut docker.tls;
    if tls.mode == TlsMode::Auto {
        let wanted = variable("DOCKER_TLS_VERIFY");
        let names_files = [&tls.ca, &tls.cert, &tls.key]
            .iter()
            .any(|path| !path.as_os_str().is_empty());
        let on = match docker.host.parse() {
            Ok(Address::Tcp { scheme, .. }) => {
                if let Some(wanted) = &wanted {
                    note("docker.tls.mode", "DOCKER_TLS_VERIFY", wanted);
                }
                wanted.is_some() || scheme == Scheme::Https || (scheme == Scheme::Tcp && names_files)
            }
            // A socket file has no TLS. What is no address is refused elsewhere.
            Ok(Address::Unix(_)) | Err(_) => false,
        };
        tls.mode = if on { TlsMode::On } else { TlsMode::Off };
    }
    if tls.mode != TlsMode::On {
        return said;
    }
    let folder = ["DOCKER_CERT_PATH", "DOCKER_CONFIG"]
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)));
    let mut take = |key: &str, path: &mut PathBuf, found: PathBuf| {
        if let Some((name, folder)) = &folder {
            note(key, name, folder);
        }
        *path = found;
    };
    let folder = match &folder {
        Some((_, folder)) => PathBuf::from(folder),
        None => match variable("HOME") {
            Some(home) => PathBuf::from(home).join(".docker"),
            None => return said,
        },
    };
    if tls.ca.as_os_str().is_empty() {
        take("docker.tls.ca", &mut tls.ca, folder.join("ca.pem"));
    }
    if tls.cert.as_os_str().is_empty() && tls.key.as_os_str().is_empty() {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        // Without a certificate of one's own, where there is none. One without the other is said to be missing.
        if cert.exists() || key.exists() {
            take("docker.tls.cert", &mut tls.cert, cert);
            take("docker.tls.key", &mut tls.key, key);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::docker::Tls;
    use super::*;

    fn completed(docker: Docker, variables: &[(&str, &str)]) -> (String, Tls) {
        let mut docker = docker;
        complete(&mut docker, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        (docker.host, docker.tls)
    }

    fn host(host: &str) -> Docker {
        Docker {
            host: host.to_owned(),
            ..Docker::default()
        }
    }

    const VERIFY: (&str, &str) = ("DOCKER_TLS_VERIFY", "1");

    #[test]
    fn the_configuration_goes_before_the_variables() {
        let (said, tls) = completed(host(""), &[]);
        assert_eq!((said.as_str(), tls.mode), (DEFAULT_HOST, TlsMode::Off));
        let elsewhere = ("DOCKER_HOST", "tcp://elsewhere");
        assert_eq!(completed(host(""), &[elsewhere]).0, "tcp://elsewhere");
        assert_eq!(completed(host("tcp://here"), &[elsewhere]).0, "tcp://here");
        assert_eq!(completed(host(""), &[("DOCKER_HOST", "")]).0, DEFAULT_HOST);

        let mut off = host("tcp://here");
        off.tls.mode = TlsMode::Off;
        assert_eq!(completed(off, &[VERIFY]).1.mode, TlsMode::Off);
    }

    #[test]
    fn whether_there_is_tls() {
        let mode = |address: &str, variables: &[_]| completed(host(address), variables).1.mode;
        for (address, variables, expected) in [
            ("tcp://h", vec![], TlsMode::Off),
            ("tcp://h", vec![VERIFY], TlsMode::On),
            // As the docker client: anything but nothing.
            ("tcp://h", vec![("DOCKER_TLS_VERIFY", "0")], TlsMode::On),
            ("tcp://h", vec![("DOCKER_TLS_VERIFY", "")], TlsMode::Off),
            ("tcp://h", vec![("DOCKER_CERT_PATH", "/certs")], TlsMode::Off),
            ("https://h", vec![], TlsMode::On),
            ("http://h", vec![], TlsMode::Off),
            // Refused later, and not spoken in clear.
            ("http://h", vec![VERIFY], TlsMode::On),
            ("unix:///s", vec![VERIFY], TlsMode::Off),
        ] {
            assert_eq!(mode(address, &variables), expected, "{address} {variables:?}");
        }
        let mut named = host("tcp://h");
        named.tls.ca = "/ca".into();
        assert_eq!(completed(named, &[]).1.mode, TlsMode::On);
    }

    #[test]
    fn where_the_files_are() {
        let folder = std::env::temp_dir().join(format!("lc-certs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.to_str().unwrap();
        let certs = [VERIFY, ("DOCKER_CERT_PATH", path), ("HOME", "/nowhere")];

        let tls = completed(host("tcp://h"), &certs).1;
        assert_eq!(tls.ca, folder.join("ca.pem"));
        assert_eq!((tls.cert, tls.key), (PathBuf::new(), PathBuf::new()));

        std::fs::write(folder.join("key.pem"), "").unwrap();
        let tls = completed(host("tcp://h"), &certs).1;
        assert_eq!((tls.cert, tls.key), (folder.join("cert.pem"), folder.join("key.pem")));

        let mut named = host("tcp://h");
        (named.tls.cert, named.tls.key) = ("/c".into(), "/k".into());
        let tls = completed(named, &certs).1;
        assert_eq!((tls.cert, tls.key), ("/c".into(), "/k".into()));
        assert_eq!(tls.ca, folder.join("ca.pem"));

        // The variable has a say in what was taken from its folder, and in nothing else.
        let mut named = host("tcp://h");
        (named.tls.cert, named.tls.key) = ("/c".into(), "/k".into());
        let said = complete(&mut named, |name| {
            let found = certs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        let keys: Vec<_> = said.iter().map(|said| said.key.as_str()).collect();
        assert_eq!(keys, ["docker.tls.mode", "docker.tls.ca"]);
        std::fs::remove_dir_all(&folder).unwrap();

        let ca = |variables: &[_]| completed(host("https://h"), variables).1.ca;
        assert_eq!(ca(&[("HOME", "/nowhere")]), PathBuf::from("/nowhere/.docker/ca.pem"));
        let config = [("HOME", "/nowhere"), ("DOCKER_CONFIG", "/etc/docker-client")];
        assert_eq!(ca(&config), PathBuf::from("/etc/docker-client/ca.pem"));
        assert_eq!(ca(&[]), PathBuf::new());
    }
}
