//! Debuginfo on its way into a bucket: whatever its sender or the bucket does, it is there whole or not at all.

use std::{fs, time::Duration};

use e2e::{
    Client, Fault, FaultyProxy, Place, S3Server, Server, raw, recorded::DEBUGINFO_METADATA, wire::UploadInstructions,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Larger than two parts, and an ELF file by its first bytes.
fn executable(bytes: usize) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\x00".to_vec();
    file.extend((file.len()..bytes).map(|at| (at ^ (at >> 8)) as u8));
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debuginfo_goes_to_the_bucket_and_every_process_knows_of_it() {
    let s3 = S3Server::start();
    let config = s3.object_storage(s3.address, "p");
    let (one, other) = (
        Server::start(&Place::with_config(&config), &[]).await,
        Server::start(&Place::with_config(&config), &[]).await,
    );
    let (one, other) = (one.client(), other.client());
    let file = executable(20 << 20);
    let instructions = one.initiate_upload("abcdef", file.len()).await.expect("initiated");
    assert_eq!(instructions.upload_strategy, e2e::wire::STRATEGY_GRPC);
    let in_progress = "A previous upload is still in-progress and not stale yet (only stale uploads can be retried).";
    assert_eq!(other.should_upload("abcdef").await.expect("an answer"), (false, in_progress.to_owned()));
    // begun with one process, sent to the other, finished with the first
    assert_eq!(other.upload(&instructions, &file).await.expect("uploaded"), file.len() as u64);
    one.finish_upload(&instructions).await.expect("finished");
    let stored = fs::read(s3.objects().join("p/debuginfo/abcdef/debuginfo")).expect("the object");
    assert!(stored == file, "the object is the file");
    let (wanted, reason) = other.should_upload("abcdef").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");
    assert_eq!(s3.names("p/debuginfo"), ["p/debuginfo/abcdef/debuginfo", "p/debuginfo/abcdef/metadata"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_parca_left_in_the_bucket_is_known() {
    let s3 = S3Server::start();
    let folder = s3.objects().join("debuginfo/feed0001");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("metadata"), DEBUGINFO_METADATA).expect("an object");
    fs::write(folder.join("debuginfo"), executable(100)).expect("an object");
    let server = Server::start(&Place::with_config(&s3.object_storage(s3.address, "")), &[]).await;
    let client = server.client();
    let (wanted, reason) = client.should_upload("feed0001").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");
    let refused = client.initiate_upload("feed0001", 7).await.expect_err("it is there");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(client.should_upload("feed0002").await.expect("an answer").0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_puts_its_file_to_a_url_that_is_signed_for_it() {
    let s3 = S3Server::start();
    let place = Place::with_config(&s3.object_storage(s3.address, "p"));
    let server = Server::start(&place, &["--debuginfo-uploads-signed-url", "--debuginfo-upload-max-size=1000"]).await;
    let client = server.client();
    let file = executable(900);
    let instructions = client.initiate_upload("abcdef", file.len()).await.expect("initiated");
    assert_eq!(instructions.upload_strategy, e2e::wire::STRATEGY_SIGNED_URL);
    assert!(!instructions.signed_url.contains(e2e::SECRET_KEY), "{}", instructions.signed_url);
    let through = client.upload(&instructions, &file).await.expect_err("not through the server");
    assert_eq!(through.code(), Code::Unimplemented);
    let early = client.finish_upload(&instructions).await.expect_err("nothing is there");
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");

    // for this object alone, and by this method alone
    let url = &instructions.signed_url;
    assert_eq!(raw::http("PUT", &url.replace("abcdef", "abcde0"), &file).0, 403);
    assert_eq!(raw::http("DELETE", url, b"").0, 403);
    assert_eq!(raw::http("PUT", url, &file).0, 200, "{url}");
    client.finish_upload(&instructions).await.expect("finished");
    assert_eq!(fs::read(s3.objects().join("p/debuginfo/abcdef/debuginfo")).expect("the object"), file);
    let (wanted, reason) = client.should_upload("abcdef").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");

    // S3 does not know how long a file may be: one that is too long goes when it is finished
    let liar = client.initiate_upload("abcdee", 10).await.expect("initiated");
    assert_eq!(raw::http("PUT", &liar.signed_url, &executable(2000)).0, 200);
    let refused = client.finish_upload(&liar).await.expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(!s3.objects().join("p/debuginfo/abcdee/debuginfo").exists());
}

/// Without the one of `initiate`, which an agent sends again by itself.
async fn upload(client: &Client, build_id: &str, file: &[u8]) -> Result<(), Status> {
    let instructions = client.force_upload(build_id, file.len()).await?;
    client.upload(&instructions, file).await?;
    client.finish_upload(&instructions).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_single_fault_of_the_bucket_keeps_a_file_from_arriving_whole() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let place = Place::with_config(&s3.object_storage(proxy.address, ""));
    let server = Server::start(&place, &[]).await;
    let client = server.client();
    // one part, and three
    for (size, requests) in [(700 << 10, 7), (17 << 20, 13)] {
        let file = executable(size);
        let faults = [
            Fault::Status(500),
            Fault::Status(503),
            Fault::LostReply,
            Fault::HalfRequest,
            Fault::HalfReply,
            Fault::Delay(Duration::from_millis(300)),
        ];
        for (kind, fault) in faults.into_iter().enumerate() {
            for number in 0..requests {
                let build_id = format!("feed{size}{kind}{number}");
                proxy.plan(move |asked| if asked.number == number { fault } else { Fault::None });
                let outcome = upload(&client, &build_id, &file).await;
                outcome.unwrap_or_else(|status| panic!("{fault:?} of request {number}: {status}"));
                let stored =
                    fs::read(s3.objects().join("debuginfo").join(&build_id).join("debuginfo")).expect("an object");
                assert!(stored == file, "{fault:?} of request {number}: {} bytes", stored.len());
            }
        }
    }
    println!("{:?}", proxy.happened());
    assert!(proxy.happened().values().all(|times| *times >= 15), "{:?}", proxy.happened());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_bucket_refuses_halfway_says_so_and_leaves_nothing() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let place = Place::with_config(&s3.object_storage(proxy.address, ""));
    let server = Server::start(&place, &[]).await;
    let client = server.client();
    let file = executable(20 << 20);
    let instructions = client.initiate_upload("feed01", file.len()).await.expect("initiated");
    proxy.plan(|asked| if asked.path.contains("partNumber") { Fault::Status(403) } else { Fault::None });
    let refused = client.upload(&instructions, &file).await.expect_err("no part arrives");
    assert!(refused.message().contains("s3://profiles/debuginfo/feed01/debuginfo"), "{refused}");
    assert!(refused.message().contains("403"), "{refused}");
    assert_eq!(s3.names("debuginfo"), ["debuginfo/feed01/metadata"]);
    assert_eq!(client.finish_upload(&instructions).await.expect_err("no file").code(), Code::FailedPrecondition);
    proxy.heal();
    assert_eq!(client.upload(&instructions, &file).await.expect("uploaded"), file.len() as u64);
    client.finish_upload(&instructions).await.expect("finished");
    assert_eq!(s3.unfinished(), 0, "parts of uploads that were given up are gone");
}

/// Begins an upload and sends `file` without an end.
async fn send_without_end(
    client: &Client,
    instructions: &UploadInstructions,
    file: &[u8],
) -> (mpsc::Sender<Vec<u8>>, tokio::task::JoinHandle<Result<u64, Status>>) {
    let (chunks, sent) = mpsc::channel(1);
    let (client, instructions) = (client.clone(), instructions.clone());
    let call = tokio::spawn(async move { client.upload_chunks(&instructions, ReceiverStream::new(sent)).await });
    for chunk in file.chunks(1 << 20) {
        chunks.send(chunk.to_vec()).await.expect("it is read");
    }
    (chunks, call)
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < end, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_client_that_stops_halfway_nothing_stays_and_the_next_one_is_served() {
    const GIVEN_UP: &str = "decima_debuginfo_uploads_total{outcome=\"given_up\"}";
    let s3 = S3Server::start();
    let place = Place::with_config(&s3.object_storage(s3.address, ""));
    let server = Server::start(&place, &[]).await;
    let client = server.client();
    let file = executable(30 << 20);
    // more of them than may be under way at once
    for round in 0..12 {
        let instructions = client.force_upload("feed01", file.len()).await.expect("initiated");
        let (_chunks, call) = send_without_end(&client, &instructions, &file[..20 << 20]).await;
        eventually("parts of it are in the bucket", || s3.unfinished() > 0).await;
        call.abort();
        eventually("the upload is given up", || server.metric(GIVEN_UP) >= f64::from(round + 1)).await;
        assert_eq!(s3.names("debuginfo"), ["debuginfo/feed01/metadata"], "round {round}");
        eventually("no part stays in the bucket", || s3.unfinished() == 0).await;
    }
    assert_eq!(server.metric("decima_debuginfo_uploads_under_way"), 0.0);
    upload(&client, "feed01", &file).await.expect("uploaded");
    assert!(fs::read(s3.objects().join("debuginfo/feed01/debuginfo")).expect("the object") == file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_of_an_upload_leaves_no_half_file_and_its_successor_takes_a_whole_one() {
    let s3 = S3Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = format!(
        "object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: {}\nscrape_configs: []\n",
        folder.path().display()
    );
    let file = executable(30 << 20);
    for (config, objects) in [(s3.object_storage(s3.address, ""), s3.objects()), (in_folder, folder.path().to_owned())]
    {
        let place = Place::with_config(&config);
        let server = Server::start(&place, &[]).await;
        let client = server.client();
        let instructions = client.initiate_upload("feed01", file.len()).await.expect("initiated");
        let (_chunks, _call) = send_without_end(&client, &instructions, &file[..20 << 20]).await;
        server.kill();
        assert!(!objects.join("debuginfo/feed01/debuginfo").exists(), "{config}");
        let server = Server::start(&place, &[]).await;
        let client = server.client();
        let (wanted, reason) = client.should_upload("feed01").await.expect("an answer");
        assert!(!wanted && reason.contains("still in-progress"), "{reason}");
        // the agent still has its instructions
        assert_eq!(client.upload(&instructions, &file).await.expect("uploaded"), file.len() as u64);
        client.finish_upload(&instructions).await.expect("finished");
        assert!(fs::read(objects.join("debuginfo/feed01/debuginfo")).expect("the object") == file);
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_passes_through_without_being_held() {
    const CHUNK: usize = 8 << 20;
    const CHUNKS: usize = 40;
    let s3 = S3Server::start();
    let on_disk = Place::new("");
    let config = std::fs::read_to_string(on_disk.path().join("parca.yaml")).expect("a configuration");
    for (config, kind) in [(config, "a folder"), (s3.object_storage(s3.address, ""), "S3")] {
        let place = Place::with_config(&config);
        let server = Server::start(&place, &[]).await;
        let client = server.client();
        // what a first small one takes is not what this is about
        upload(&client, "feed00", &executable(100)).await.expect("uploaded");
        let before = server.peak_memory();
        let instructions = client.initiate_upload("feed01", CHUNK * CHUNKS).await.expect("initiated");
        // as agents send it: 8 MiB at once
        let chunk = executable(CHUNK);
        let chunks = tokio_stream::iter((0..CHUNKS).map(move |_| chunk.clone()));
        let size = client.upload_chunks(&instructions, chunks).await.expect("uploaded");
        assert_eq!(size, (CHUNK * CHUNKS) as u64);
        client.finish_upload(&instructions).await.expect("finished");
        let grown = server.peak_memory() - before;
        println!("{kind}: {} MiB sent, {:.1} MiB of memory at most", size >> 20, grown as f64 / f64::from(1 << 20));
        assert!(grown < 64 << 20, "{kind}: {grown} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_lies_about_its_size_is_refused_where_it_breaks_a_rule_and_nothing_of_it_stays() {
    let s3 = S3Server::start();
    let place = Place::with_config(&s3.object_storage(s3.address, ""));
    let server = Server::start(&place, &["--debuginfo-upload-max-size=10485760"]).await;
    let client = server.client();
    let refused = client.initiate_upload("feed01", 10_485_761).await.expect_err("too large");
    let told = "upload size 10485761 exceeds maximum allowed size 10485760";
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, told));
    // says ten bytes, and sends 20 MiB
    let instructions = client.initiate_upload("feed01", 10).await.expect("initiated");
    let refused = client.upload(&instructions, &executable(20 << 20)).await.expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("maximum allowed size 10485760"), "{refused}");
    assert_eq!(client.finish_upload(&instructions).await.expect_err("no file").code(), Code::FailedPrecondition);

    // a message that says it is longer than it is, and one that is longer than any may be
    let info = {
        let mut info = vec![0x0a, 2 + 6, 0x0a, 6];
        info.extend(b"feed01");
        info.extend([0x12, instructions.upload_id.len() as u8]);
        info.extend(instructions.upload_id.as_bytes());
        info[1] = (info.len() - 2) as u8;
        raw::frame(&info)
    };
    let path = "/parca.debuginfo.v1alpha1.DebuginfoService/Upload";
    let within = raw::frame(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]);
    for (lie, codes) in [
        (raw::frame_of_length(1000, b"\x12\x03abc"), vec![Code::Internal, Code::Unknown, Code::InvalidArgument]),
        (raw::frame_of_length(u32::MAX, b"\x12\x03abc"), vec![Code::ResourceExhausted]),
        (within, vec![Code::Internal, Code::InvalidArgument]),
    ] {
        let told = client.send(path, tokio_stream::iter([info.clone(), lie])).await.expect_err("a lie");
        assert!(codes.contains(&told.code()) && !told.message().is_empty(), "{told}");
        assert_eq!(s3.names("debuginfo"), ["debuginfo/feed01/metadata"], "{told}");
    }
    eventually("no part stays in the bucket", || s3.unfinished() == 0).await;
    upload(&client, "feed01", &executable(10 << 20)).await.expect("the truth is taken");
}
