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
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")

let package = Package(
    name: "cygnet-fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [
        // The same as in the package above.
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2.git", exact: "1.46.0"),
        .package(url: "https://github.com/apple/swift-certificates.git", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1.git", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
    ],
    targets: [
        .target(name: "CLibFuzzer"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib"),
        .target(
            name: "HTTP2", dependencies: [nioCore, nioHPACK], exclude: ["README.md"],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzHTTP2", dependencies: ["HTTP2", "CLibFuzzer", nioCore],
            swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
        .target(
            name: "SPIFFE",
            dependencies: ["CZlib", x509, asn1, crypto, cryptoExtras, nioConcurrency],
            exclude: ["Documentation.docc"], swiftSettings: settings),
        .target(name: "WorkloadAPIAddress", swiftSettings: settings),
        .executableTarget(
            name: "FuzzSPIFFE",
            dependencies: ["SPIFFE", "WorkloadAPIAddress", "CLibFuzzer", crypto, x509],
            swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
        .target(
            name: "Transparency", dependencies: ["SPIFFE", crypto], exclude: ["README.md"],
            swiftSettings: settings),
        .executableTarget(
            name: "FuzzTransparency", dependencies: ["Transparency", "SPIFFE", "CLibFuzzer"],
            swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
    ]
)
