//! What the machine must have: a Java development kit, and RocketMQ's jars through Maven.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, sha256};

const POM: (&str, &str) = ("pom.xml", include_str!("../java/pom.xml"));
const PROXY_POM: (&str, &str) = ("proxy.xml", include_str!("../java/proxy.xml"));
const SOURCES: [(&str, &str); 2] = [
    ("Guard.java", include_str!("../java/Guard.java")),
    ("Reader.java", include_str!("../java/Reader.java")),
];

/// Java, and the class path of every version asked for.
#[derive(Debug, Clone)]
pub struct Environment {
    java: PathBuf,
    cache: PathBuf,
    class_paths: BTreeMap<String, String>,
}

impl Environment {
    pub(crate) fn java(&self) -> &Path {
        &self.java
    }

    /// A folder that survives from run to run.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    pub(crate) fn class_path(&self, version: &str) -> Result<&str> {
        let known = self.class_paths.get(version).map(String::as_str);
        known.ok_or_else(|| format!("the environment was not asked for version {version}"))
    }

    /// That of the proxy, which is resolved when it is asked for.
    pub(crate) fn proxy_class_path(&self, version: &str) -> Result<String> {
        let own = self.class_path(version)?;
        let classes = own.split(':').next().unwrap_or_default();
        Ok(format!("{classes}:{}", jars(&self.cache, version, PROXY_POM)?))
    }
}

/// Finds Java (11 or newer) and resolves, once per version, what RocketMQ `versions` need.
///
/// `cache` is a folder of the build directory, such as `CARGO_TARGET_TMPDIR`: with a full cache
/// neither Maven nor a network is needed. The error says what is missing, in few words: "no java",
/// "no maven".
pub fn environment(cache: &Path, versions: &[&str]) -> Result<Environment> {
    if cfg!(not(unix)) {
        return Err("no Unix signals".to_owned());
    }
    let java = tool("java");
    let release = java_release(&java).ok_or("no java")?;
    if release < 11 {
        return Err(format!("no java 11 or newer (found {release})"));
    }
    let cache = cache.join("interop");
    fs::create_dir_all(&cache).map_err(|e| format!("cannot create {}: {e}", cache.display()))?;
    let mut class_paths = BTreeMap::new();
    for &version in versions {
        let jars = jars(&cache, version, POM)?;
        let classes = compile(&cache, version, &jars)?;
        class_paths.insert(version.to_owned(), format!("{}:{jars}", classes.display()));
    }
    Ok(Environment { java, cache, class_paths })
}

/// A tool of the development kit: under `JAVA_HOME` if that is set, else on the path.
fn tool(name: &str) -> PathBuf {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
    let at_home = home.map(|home| Path::new(&home).join("bin").join(name));
    at_home.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}

/// 17 for `openjdk version "17.0.15"`, 1 for `"1.8.0_292"`, nothing if there is no Java.
fn java_release(java: &Path) -> Option<u32> {
    let output = Command::new(java).arg("-version").stdin(Stdio::null()).output().ok()?;
    release_of(&String::from_utf8_lossy(&output.stderr))
}

fn release_of(text: &str) -> Option<u32> {
    let quoted = text.split('"').nth(1)?;
    quoted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The class path of one version, from the cache if every jar of it is still there.
fn jars(cache: &Path, version: &str, (name, text): (&str, &str)) -> Result<String> {
    let file = cache.join(format!("cp-{name}-{version}.txt"));
    if let Ok(text) = fs::read_to_string(&file) {
        let text = text.trim();
        if !text.is_empty() && text.split(':').all(|jar| Path::new(jar).exists()) {
            return Ok(text.to_owned());
        }
    }
    let found = Command::new("mvn").arg("-version").stdin(Stdio::null()).output();
    if !found.is_ok_and(|output| output.status.success()) {
        return Err("no maven".to_owned());
    }
    let pom = cache.join(name);
    write(&pom, text)?;
    // Resolved beside its place and moved there: another run may be reading it.
    let fresh = cache.join(format!("cp-{name}-{version}-{}.txt", std::process::id()));
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:build-classpath", "-f"])
        .arg(&pom)
        .arg(format!("-Dmdep.outputFile={}", fresh.display()))
        .arg(format!("-Drmq={version}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run mvn: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let first = said.lines().find(|line| line.contains("ERROR")).unwrap_or("no reason given");
        return Err(format!("maven cannot fetch RocketMQ {version}: {first}"));
    }
    fs::rename(&fresh, &file).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let text = fs::read_to_string(&file);
    text.map(|text| text.trim().to_owned()).map_err(|e| e.to_string())
}

/// Compiles the Java programs of this crate against one version, once per version and content.
fn compile(cache: &Path, version: &str, jars: &str) -> Result<PathBuf> {
    let content: String = SOURCES.iter().map(|(_, text)| *text).collect();
    let classes = cache.join(format!("classes-{version}-{}", &sha256(content.as_bytes())[..12]));
    if classes.exists() {
        return Ok(classes);
    }
    let fresh = cache.join(format!("classes-{version}-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(|e| e.to_string())?;
    let mut command = Command::new(tool("javac"));
    command.args(["-encoding", "UTF-8", "-nowarn", "-cp", jars, "-d"]).arg(&fresh);
    for (name, text) in SOURCES {
        let file = fresh.join(name);
        write(&file, text)?;
        command.arg(file);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|_| "no javac")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("javac refuses the reader for RocketMQ {version}: {said}"));
    }
    if let Err(error) = fs::rename(&fresh, &classes) {
        // Another run was faster, which is as good.
        let _ = fs::remove_dir_all(&fresh);
        if !classes.exists() {
            return Err(format!("cannot write {}: {error}", classes.display()));
        }
    }
    Ok(classes)
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::release_of;

    #[test]
    fn release_numbers() {
        assert_eq!(release_of("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(release_of("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(release_of("java version \"1.8.0_292\""), Some(1));
        assert_eq!(release_of("command not found"), None);
    }
}
