//! Redirects of transfers: credentials in a URL stay with the server they are for.

use super::{content, fetch, settings};
use crate::testing::fault_server::{FaultServer, Reply};

/// `url` with a user and a password.
fn with_credentials(url: &str) -> String {
    url.replace("http://", "http://user:s3cret@")
}

#[test]
fn credentials_are_not_carried_to_another_server() {
    let bytes = content(5000);
    let copy = bytes.clone();
    let other = FaultServer::start(move |_| Reply::whole(&copy)).unwrap();
    let port = other.url("/image");
    let name = port.replace("127.0.0.1", "localhost");
    let scheme_relative = port.replace("http:", "");
    for elsewhere in [port, name, scheme_relative] {
        let server =
            FaultServer::start(move |_| Reply::status(302).header("Location", &elsewhere)).unwrap();
        let got = fetch(&settings(), &with_credentials(&server.url("/image")));
        assert_eq!(got.result.unwrap(), bytes);
        assert!(server.requests()[0].header("authorization").is_some());
    }
    let requests = other.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|it| it.header("authorization").is_none())
    );
}

#[test]
fn credentials_stay_within_one_server_however_it_writes_its_location() {
    for is_absolute in [false, true] {
        let bytes = content(5000);
        let copy = bytes.clone();
        let server = FaultServer::start(move |request| match request.target.as_str() {
            "/image" if is_absolute => {
                let host = request.header("host").unwrap_or_default();
                Reply::status(302).header("Location", &format!("http://{host}/store/image"))
            }
            "/image" => Reply::status(302).header("Location", "/store/image"),
            _ => Reply::whole(&copy),
        })
        .unwrap();
        let got = fetch(&settings(), &with_credentials(&server.url("/image")));
        assert_eq!(got.result.unwrap(), bytes);
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(
            requests[0].header("authorization"),
            requests[1].header("authorization")
        );
        assert!(requests[1].header("authorization").is_some());
    }
}
