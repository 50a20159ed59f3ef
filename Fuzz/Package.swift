// swift-tools-version:6.2
import PackageDescription

// A package of its own: the fuzzer's flags are "unsafe" to SwiftPM, and libFuzzer brings its own
// `main`. The sources under test are a symbolic link.

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-sanitize=fuzzer", "-parse-as-library"]),
]
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")

let package = Package(
    name: "cygnet-fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [
        // The same as in the package above.
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2.git", exact: "1.46.0"),
    ],
    targets: [
        .target(name: "CLibFuzzer"),
        .target(name: "HTTP2", dependencies: [nioCore, nioHPACK], swiftSettings: settings),
        .executableTarget(
            name: "FuzzHTTP2", dependencies: ["HTTP2", "CLibFuzzer", nioCore],
            swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
    ]
)
