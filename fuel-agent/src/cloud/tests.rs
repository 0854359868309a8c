//! The seed of the sample node, and what other programs make of it.

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Program, System};

use super::*;
use crate::testing::sample_plan;

fn part(kind: PartKind) -> String {
    let seed = seed(&sample_plan::plan()).unwrap();
    let part = seed.user_data.into_iter().find(|part| part.kind == kind);
    part.unwrap().content
}

const SH: Program = Program::new("sh", "dash");
const PYTHON: Program = Program::new("python3", "python3");

/// Passes `input` to a program; `None` if it is not installed.
fn asks(program: Program, args: &[&str], input: &str) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    std::fs::write(&file, input).unwrap();
    let cmd = Cmd::new(program).args(args).arg(&file);
    match System::new(Cancel::new()).run(&cmd) {
        Ok(output) => Some((true, output.stdout + &output.stderr)),
        Err(error @ ExecError::Missing { .. }) => {
            host::fake::skipped(format_args!("{error}"));
            None
        }
        Err(ExecError::Failed { stderr, .. }) => Some((false, stderr)),
        Err(error) => Some((false, error.to_string())),
    }
}

#[expect(clippy::too_many_lines, reason = "most of them are the file")]
#[test]
fn the_cloud_config_of_a_fuel_node() {
    insta::assert_snapshot!(part(PartKind::CloudConfig), @r#"
    #cloud-config
    hostname: node-1
    fqdn: node-1.example.com
    preserve_hostname: false
    manage_etc_hosts: false
    locale: "false"
    resize_rootfs: false
    growpart:
      mode: "off"
    disable_ec2_metadata: true
    apt:
      preserve_sources_list: true
    disable_root: false
    ssh_pwauth: false
    ssh_deletekeys: true
    ssh_genkeytypes:
    - ed25519
    - ecdsa
    ssh_authorized_keys:
    - ssh-rsa AAAAB3 root@fuel
    chpasswd:
      expire: false
    users:
    - name: fueladmin
      homedir: /home/fueladmin
      shell: /bin/bash
      lock_passwd: false
      hashed_passwd: $6$rounds=5000$.EaeeKtH/NiPSrGG$HxexpzEWhuj.KcbgUPTdPjpBonRJA.oE1SmaBhMtNdjdncG/8uX6X0Kydbp.Erts9n44fnkUWTZGxqoV9VoXq/
      ssh_authorized_keys:
      - ssh-rsa AAAAB3 admin@fuel
      sudo: "ALL=(ALL) NOPASSWD: ALL"
    write_files:
    - path: /etc/nailgun-agent/config.yaml
      permissions: "0644"
      owner: root:root
      content: |
        ---
        url: "http://10.20.0.2:8000/api"
    - path: /etc/nailgun_systemtype
      permissions: "0644"
      owner: root:root
      content: |
        target
    - path: /etc/rsyslog.d/22-provision-remote.conf
      permissions: "0644"
      owner: root:root
      content: |
        *.* @10.20.0.2
    - path: /etc/mcollective/server.cfg
      permissions: "0600"
      owner: root:root
      content: |
        main_collective = mcollective
        collectives = mcollective
        libdir = /usr/share/mcollective/plugins
        logfile = /var/log/mcollective.log
        loglevel = debug
        daemonize = 1
        direct_addressing = 1
        ttl = 4294957
        securityprovider = psk
        plugin.psk = unset
        identity = 1
        connector = rabbitmq
        plugin.rabbitmq.vhost = mcollective
        plugin.rabbitmq.pool.size = 1
        plugin.rabbitmq.pool.1.host = 10.20.0.2
        plugin.rabbitmq.pool.1.port = 61613
        plugin.rabbitmq.pool.1.user = mcollective
        plugin.rabbitmq.pool.1.password = mc-secret
        plugin.rabbitmq.heartbeat_interval = 30
        factsource = yaml
        plugin.yaml = /etc/mcollective/facts.yaml
    runcmd:
    - |
      service_on() {
          if [ -d /run/systemd/system ]; then
              systemctl cat "$1.service" >/dev/null 2>&1 && systemctl enable "$1" && systemctl restart "$1"
          elif command -v initctl >/dev/null && [ -e "/etc/init/$1.conf" ]; then
              rm -f "/etc/init/$1.override"
              service "$1" restart
          elif [ -x "/etc/init.d/$1" ]; then
              if command -v chkconfig >/dev/null; then chkconfig "$1" on; else update-rc.d "$1" enable; fi
              service "$1" restart
          fi
      }
      service_off() {
          if [ -d /run/systemd/system ]; then
              systemctl cat "$1.service" >/dev/null 2>&1 && systemctl disable --now "$1"
          elif command -v initctl >/dev/null && [ -e "/etc/init/$1.conf" ]; then
              echo manual > "/etc/init/$1.override"
              service "$1" stop
          elif [ -x "/etc/init.d/$1" ]; then
              if command -v chkconfig >/dev/null; then chkconfig "$1" off; else update-rc.d "$1" disable; fi
              service "$1" stop
          fi
      }
      service_off puppet
      service_on mcollective
    - |
      if [ -d /run/systemd/system ]; then
          for name in rsyslog systemd-timesyncd chrony chronyd ntp ntpd; do
              systemctl try-restart "$name.service" 2>/dev/null
          done
      fi
      if command -v iptables >/dev/null; then
          iptables -t filter -F INPUT
          iptables -t filter -F FORWARD
      fi
      if command -v update-locale >/dev/null; then
          if ! locale -a 2>/dev/null | grep -qi '^en_US\.utf-\?8$' && command -v locale-gen >/dev/null && [ -e /etc/locale.gen ]; then
              sed -i -e 's/^# *\(en_US\.UTF-8 \)/\1/' /etc/locale.gen
              locale-gen >/dev/null 2>&1
          fi
          locale -a 2>/dev/null | grep -qi '^en_US\.utf-\?8$' && update-locale LANG=en_US.UTF-8
      fi
      :
    "#);
}

#[test]
fn the_facts_stand_at_the_top_of_the_boothook() {
    let text = part(PartKind::Boothook);
    let head: Vec<&str> = text.lines().take(9).collect();
    insta::assert_snapshot!(head.join("\n"), @r#"
    #cloud-boothook
    #!/bin/sh
    # Early settings of this node, applied once at its first boot.
    done=/var/lib/cloud/instance/provision-boothook
    [ -e "$done" ] && exit 0
    master='10.20.0.2'
    name_servers='10.20.0.2'
    search='example.com'
    timezone='America/Los_Angeles'
    "#);
}

#[test]
fn every_script_is_a_script() {
    let mut plan = sample_plan::plan();
    for profile in ["ubuntu_1404_x86_64", "centos7-x86_64"] {
        profile.clone_into(&mut plan.boot.profile);
        plan.first_boot.wipe_configdrive = true;
        let script = seed(&plan).unwrap().user_data.remove(0).content;
        if let Some((ok, text)) = asks(SH, &["-n"], &script) {
            assert!(ok, "{text}");
        }
    }
    for script in runcmd(plan.node.as_ref().unwrap(), plan.first_boot) {
        if let Some((ok, text)) = asks(SH, &["-n"], &script) {
            assert!(ok, "{text}");
        }
    }
}

#[test]
fn the_profile_decides_the_family() {
    let mut plan = sample_plan::plan();
    assert_eq!(Family::of(&plan), Family::Debian);
    plan.boot.profile = "CentOS-x86_64".to_owned();
    assert_eq!(Family::of(&plan), Family::RedHat);
    let boothook = |plan: &Plan| seed(plan).unwrap().user_data.remove(0).content;
    assert!(boothook(&plan).contains("SELINUX=disabled"));
    plan.boot.profile = "debian".to_owned();
    assert!(!boothook(&plan).contains("SELINUX=disabled"));
}

/// One of the switches.
type Switch = fn(&mut FirstBoot) -> &mut bool;

#[test]
fn what_weakens_a_system_is_there_only_if_it_is_asked_for() {
    let mut plan = sample_plan::plan();
    plan.boot.profile = "centos7".to_owned();
    let texts = |plan: &Plan| {
        let parts = seed(plan).unwrap().user_data;
        let texts: Vec<String> = parts.into_iter().map(|part| part.content).collect();
        texts.concat()
    };
    let switches: [(Switch, &str); 5] = [
        (|it| &mut it.flush_iptables, "iptables"),
        (|it| &mut it.disable_selinux, "SELINUX=disabled"),
        (|it| &mut it.core_dumps, "suid_dumpable"),
        (|it| &mut it.remote_log, "22-provision-remote.conf"),
        (|it| &mut it.wipe_configdrive, "provision-wipe-configdrive"),
    ];
    plan.first_boot = FirstBoot::default();
    let none = texts(&plan);
    for (switch, word) in switches {
        assert!(!none.contains(word), "{word}");
        plan.first_boot = FirstBoot::default();
        *switch(&mut plan.first_boot) = true;
        let one = texts(&plan);
        let there = switches.iter().filter(|(_, other)| one.contains(other));
        assert_eq!(there.count(), 1, "{word}");
        assert!(one.contains(word), "{word}");
    }
}

#[test]
fn passwords_in_clear_go_nowhere() {
    let seed = seed(&sample_plan::plan()).unwrap();
    let files = configdrive::files(&seed).unwrap();
    for file in &files {
        let text = String::from_utf8_lossy(&file.content);
        assert!(!text.contains("in-the-clear"), "{}", file.path);
    }
    assert!(!format!("{seed:?}").contains("mc-secret"));
}

#[test]
fn a_disabled_service_leaves_no_settings_and_is_stopped() {
    let mut plan = sample_plan::plan();
    let node = plan.node.as_mut().unwrap();
    node.mcollective.enable = false;
    let seed = seed(&plan).unwrap();
    let text = &seed.user_data[1].content;
    assert!(
        !text.contains("mc-secret") && !text.contains("server.cfg"),
        "{text}"
    );
    assert!(text.contains("service_off mcollective\n"), "{text}");
}

#[test]
fn a_request_without_a_node_has_an_identity_and_nothing_to_do() {
    let mut plan = sample_plan::plan();
    plan.node = None;
    let seed = seed(&plan).unwrap();
    assert_eq!(seed.instance_id, plan.instance_id.to_string());
    assert!(seed.user_data.is_empty() && seed.network.is_none());
}

#[test]
fn name_servers_are_the_requests_or_the_orchestrator() {
    let mut node = sample_plan::node();
    node.name_servers = vec!["no address".to_owned()];
    assert_eq!(name_servers(&node), [IpAddr::from([10, 20, 0, 2])]);
    node.name_servers = vec!["10.1.1.1".to_owned(), "fd77::1".to_owned()];
    assert_eq!(name_servers(&node).len(), 2);
}

#[test]
fn pyyaml_and_pythons_mail_parser_read_what_was_meant() {
    let seed = seed(&sample_plan::plan()).unwrap();
    let user_data = configdrive::files(&seed).unwrap();
    let user_data = user_data
        .iter()
        .find(|file| file.path == "user-data")
        .unwrap();
    let script = "import email, json, sys, yaml\n\
                  parts = email.message_from_string(open(sys.argv[1]).read()).get_payload()\n\
                  texts = [p.get_payload(decode=True).decode() for p in parts]\n\
                  print(json.dumps([[p.get_content_type() for p in parts], texts[0], yaml.safe_load(texts[1])]))";
    let text = String::from_utf8(user_data.content.clone()).unwrap();
    let Some((ok, answer)) = asks(PYTHON, &["-c", script], &text) else {
        return;
    };
    if answer.contains("ModuleNotFoundError") {
        host::fake::skipped("python3-yaml is not installed");
        return;
    }
    assert!(ok, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        answer[0],
        json!(["text/cloud-boothook", "text/cloud-config"])
    );
    assert_eq!(answer[1], json!(seed.user_data[0].content));
    let plan = sample_plan::plan();
    let node = plan.node.as_ref().unwrap();
    let salted = Hashing::Salted(&seed.instance_id);
    let expected = cloud_config(&plan, node, &seed.hostname, salted);
    assert_eq!(answer[2], expected);
}

#[test]
fn the_installed_system_calls_only_the_configured_url() {
    assert!(!part(PartKind::CloudConfig).contains("phone_home"));
    let mut plan = sample_plan::plan();
    plan.phone_home = Some("http://orchestrator.test/alive?mac=x&y".into());
    let seed = seed(&plan).unwrap();
    let text = &seed.user_data.last().unwrap().content;
    assert!(
        text.contains("phone_home:\n  url: http://orchestrator.test/alive?mac=x&y\n"),
        "{text}"
    );
}

#[test]
fn the_data_is_as_long_as_it_was_measured() {
    let plan = sample_plan::plan();
    let lengths = |files: Vec<configdrive::File>| -> Vec<(String, usize)> {
        let each = |file: configdrive::File| (file.path, file.content.len());
        files.into_iter().map(each).collect()
    };
    let made = configdrive::files(&seed(&plan).unwrap()).unwrap();
    assert_eq!(lengths(made), lengths(measured(&plan).unwrap()));
}
