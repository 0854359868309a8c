//! A file server: nginx in the foreground, with its configuration, logs and temporary files in the folder of a run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use host::exec::{Cmd, Running, System};

use crate::tools::Tool;

/// Starts nginx with one server; it stops when the value is dropped. `server` is the content of nginx's `server` block:
/// `listen`, and what is served. Files in `work` are called `nginx…`; requests are logged to `nginx-access.log` unless
/// `server` has `access_log off;`.
pub fn start(system: &mut System, work: &Path, server: &str) -> Result<Running> {
    let conf = work.join("nginx.conf");
    fs::write(&conf, config(work, server)).context("cannot write nginx's configuration")?;
    let cmd = Cmd::new(Tool::Nginx)
        .arg("-c")
        .arg(&conf)
        .arg("-e")
        .arg(work.join("nginx-error.log"))
        .args(["-g", "daemon off;"]);
    system
        .spawn(&cmd, &work.join("nginx.log"))
        .context("cannot start nginx")
}

fn config(work: &Path, server: &str) -> String {
    let work = work.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .fold(String::new(), |text, kind| {
            text + &format!("  {kind}_temp_path {work}/nginx-{kind};\n")
        });
    format!(
        "user root;\nworker_processes 1;\npid {work}/nginx.pid;\nerror_log {work}/nginx-error.log;\n\
         events {{}}\nhttp {{\n\
         {temporary}  access_log {work}/nginx-access.log;\n  sendfile on;\n  default_type application/octet-stream;\n\
         \x20 server {{ {server} }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_nginx_are_in_the_folder_of_the_run() {
        let text = config(Path::new("/w"), "listen 80; root /files;");
        let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
        let elsewhere: Vec<&str> = paths.filter(|path| !path.starts_with("/w/")).collect();
        assert_eq!(elsewhere, ["/files;"]);
        assert!(
            text.ends_with("  server { listen 80; root /files; }\n}\n"),
            "{text}"
        );
    }
}
