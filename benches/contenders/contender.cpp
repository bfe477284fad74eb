#include "contender.hpp"

#include <algorithm>
#include <barrier>
#include <fstream>
#include <iostream>
#include <malloc.h>
#include <sstream>
#include <thread>

namespace contender {

static std::vector<std::string> lines_of(const std::string &file)
{
    std::ifstream input(file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(input, line);)
        lines.push_back(line);
    return lines;
}

int Program::serve()
{
    std::cout << "ok" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        std::string text;
        try {
            text = answer(line);
        } catch (const Failure &failure) {
            text = "error " + failure.what;
        }
        std::cout << text << std::endl;
    }
    return 0;
}

std::string Program::answer(const std::string &line)
{
    std::istringstream words(line);
    std::string request, first, second;
    words >> request >> first >> second;
    if (request == "connect") {
        connect(first);
    } else if (request == "load") {
        load(first);
    } else if (request == "begin") {
        begin(first);
    } else if (request == "digest") {
        Digest whole = digest();
        return "ok nodes=" + std::to_string(whole.nodes) + " sum=" + std::to_string(whole.sum);
    } else if (request == "memory") {
        struct mallinfo2 info = mallinfo2();
        return "ok live=" + std::to_string(info.uordblks + info.hblkhd);
    } else if (request == "listen") {
        listen();
        heard.events = heard.versions = 0;
    } else if (request == "heard") {
        return write_heard(first);
    } else if (request == "expect") {
        expect(first, second.empty() ? std::nullopt : std::optional(second));
    } else if (request == "until") {
        wait_until_expected();
    } else if (request == "measure") {
        size_t threads = 0, ms = 0;
        words >> threads >> ms;
        return measure(first, second, threads, std::chrono::milliseconds(ms));
    } else if (request == "keep") {
        keep();
    } else if (request == "cuts") {
        return cuts(std::chrono::milliseconds(std::stoul(first)));
    } else if (request == "close") {
        close();
        expected.clear();
    } else {
        return "unsupported";
    }
    return "ok";
}

std::string Program::write_heard(const std::string &file)
{
    std::lock_guard lock(heard.mutex);
    std::ofstream output(file);
    for (const auto &[data, at] : heard.times)
        output << data << ' ' << at.count() << '\n';
    heard.times.clear();
    return "ok events=" + std::to_string(heard.events.exchange(0)) +
           " versions=" + std::to_string(heard.versions.exchange(0));
}

void Program::expect(const std::string &file, std::optional<std::string> data)
{
    expected = lines_of(file);
    expected_data = std::move(data);
}

void Program::wait_until_expected()
{
    while (!expected.empty() || !in_step()) {
        while (!expected.empty() && get(expected.back()) == expected_data)
            expected.pop_back();
        if (!expected.empty() || !in_step())
            std::this_thread::sleep_for(LOOK);
    }
}

std::string Program::measure(const std::string &what, const std::string &file, size_t threads,
                             std::chrono::milliseconds time)
{
    const std::vector<std::string> paths = lines_of(file);
    std::vector<double> took; // for one read, in ns, of every block
    std::mutex mutex;
    std::optional<Failure> failure;
    std::barrier start(static_cast<std::ptrdiff_t>(threads));
    std::vector<std::thread> readers;
    for (size_t i = 0; i < threads; i++) {
        readers.emplace_back([&, i] {
            // Each reads its own part; of a single path, everybody the whole.
            const size_t len = paths.size();
            const Share share = len < threads ? Share{&paths, 0, len}
                                              : Share{&paths, len * i / threads, len * (i + 1) / threads};
            std::vector<double> mine;
            start.arrive_and_wait();
            const auto end = Clock::now() + time;
            try {
                for (auto began = Clock::now(); began < end || mine.size() < 5;) {
                    const size_t reads = block(what, share);
                    const auto now = Clock::now();
                    if (reads == 0)
                        return;
                    const std::chrono::duration<double, std::nano> passed = now - began;
                    mine.push_back(passed.count() / static_cast<double>(reads));
                    began = now;
                }
            } catch (const Failure &thrown) {
                std::lock_guard lock(mutex);
                failure = thrown;
            }
            std::lock_guard lock(mutex);
            took.insert(took.end(), mine.begin(), mine.end());
        });
    }
    for (std::thread &reader : readers)
        reader.join();
    if (failure)
        throw *failure;
    if (took.empty())
        return "unsupported";
    std::nth_element(took.begin(), took.begin() + static_cast<std::ptrdiff_t>(took.size() / 2), took.end());
    return "ok ns=" + std::to_string(took[took.size() / 2]);
}

} // namespace contender
