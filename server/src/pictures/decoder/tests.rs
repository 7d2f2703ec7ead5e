use std::{fs, io::Write, os::unix::fs::PermissionsExt, time::Instant};

use super::*;

/// Has a script in the place of Qchat make a picture of this file.
async fn of_script(script: &str, file: File) -> Result<Encoded, DecoderError> {
    // A program cannot be executed while a process that is just being started has it open, so one at a time.
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let decoder = Decoder { deadline: Duration::from_secs(1), ..Decoder::new(program, 1_000) };
    decoder.run_in_time(file).await
}

fn no_file() -> File {
    tempfile::tempfile().unwrap()
}

#[tokio::test]
async fn a_decoder_that_hangs_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("pid");
    let began = Instant::now();
    let script = format!("echo $$ > {}; exec /bin/sleep 1000", told.display());
    let hangs = of_script(&script, no_file()).await.unwrap_err();
    assert_eq!(hangs.problem(), Problem::PictureTooManyPixels);
    assert!(began.elapsed() < Duration::from_secs(10));
    let id = fs::read_to_string(told).unwrap();
    let process = Path::new("/proc").join(id.trim()).join("cmdline");
    // A process that was killed has no command line any more.
    while fs::read(&process).is_ok_and(|line| !line.is_empty()) {
        assert!(began.elapsed() < Duration::from_secs(10), "{id} goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_end_of_a_decoder_is_a_sentence() {
    for (script, expected) in [
        ("exit 0", Problem::PictureDamaged),
        ("exit 101", Problem::PictureDamaged),
        ("echo nonsense", Problem::PictureDamaged),
        ("echo '{\"refused\":{\"code\":\"not_a_picture\"}}'; exit 1", Problem::PictureDamaged),
        ("kill -ABRT $$", Problem::PictureTooManyPixels),
        ("kill -XCPU $$", Problem::PictureTooManyPixels),
        ("kill -KILL $$", Problem::PictureTooManyPixels),
        ("kill -SEGV $$", Problem::PictureDamaged),
        ("exec /usr/bin/yes", Problem::PictureDamaged),
    ] {
        let error = of_script(script, no_file()).await.unwrap_err();
        assert_eq!(error.problem(), expected, "{script}: {error}");
    }
    let nowhere = Decoder::new("/nowhere/qchat".into(), 1_000);
    assert_eq!(nowhere.decode(no_file()).await, Err(Problem::Busy));
}

#[tokio::test]
async fn the_file_is_read_from_its_beginning() {
    let mut file = no_file();
    file.write_all(b"whole").unwrap();
    let error = of_script("/bin/grep -q whole && echo nonsense", file).await.unwrap_err();
    assert!(matches!(error, DecoderError::NoPicture), "{error}");
}

fn written(head: &Head, files: &[&[u8]]) -> Vec<u8> {
    let mut output = serde_json::to_vec(head).unwrap();
    output.push(b'\n');
    output.extend(files.concat());
    output
}

#[test]
fn what_a_decoder_writes_is_read_whole_or_not_at_all() {
    let part = |bytes, width| Part { bytes, width, height: 2 };
    let made = Head::Made { large: part(3, 5), small: part(2, 4) };
    let output = written(&made, &[b"abc", b"de"]);
    let expected =
        Encoded { large: b"abc".to_vec(), large_size: (5, 2), small: b"de".to_vec(), small_size: (4, 2) };
    assert_eq!(read(&output), Some(Ok(expected)));
    for end in 0..output.len() {
        assert_eq!(read(&output[..end]), None, "{end}");
    }
    assert_eq!(read(&[&*output, b"more"].concat()), None);
    let refused = Head::Refused(Problem::NotAPicture);
    assert_eq!(read(&written(&refused, &[])), Some(Err(Problem::NotAPicture)));
    assert_eq!(read(&written(&refused, &[b"x"])), None);
    assert_eq!(read(&written(&Head::Made { large: part(3, 0), small: part(2, 4) }, &[b"abc", b"de"])), None);
    let huge = Head::Made { large: part(usize::MAX, 5), small: part(2, 4) };
    assert_eq!(read(&written(&huge, &[b"abc", b"de"])), None);
}
